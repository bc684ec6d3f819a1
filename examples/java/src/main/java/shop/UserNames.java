package shop;

import static shop.Topic.header;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.nio.ByteBuffer;
import java.util.TreeMap;

/**
 * Reads the events of all users to their present end, and prints the name of each as JSON: as text where there is a key,
 * {@code {"sealed": true}} where there is none, {@code {"erased": true}} where the user was forgotten.
 *
 * <p>Arguments: brokers, events topic, URL of the shop, namespace, a file with keys, and the URL of the schema registry
 * if there is one. The file has by user the number and the key, {@code {"17850": {"number": 1, "key": "<hex>"}}}.
 */
public final class UserNames {
    public static void main(String[] arguments) throws Exception {
        var registered = new EventReader("/UserRegistered.avsc", arguments[2], arguments.length > 5 ? arguments[5] : "");
        var sealed = new Sealed(arguments[3], new ObjectMapper().readTree(new File(arguments[4])));
        var names = new TreeMap<String, Object>();
        Topic.readToEnd(arguments[0], arguments[1], event -> {
            if (header(event, "ce_type").equals("UserRegistered")) {
                var name = (ByteBuffer) registered.read(event.value()).get("name");
                long sequence = Long.parseLong(header(event, "ce_sequence"));
                names.put(event.key(), sealed.open("user", event.key(), sequence, "name", event.key(), name));
            }
        });
        new ObjectMapper().writeValue(System.out, names);
    }
}
