package shop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

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
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0], "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            var partitions = consumer.partitionsFor(arguments[1]).stream()
                    .map(it -> new TopicPartition(it.topic(), it.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(it -> consumer.position(it) < ends.get(it))) {
                for (var event : consumer.poll(Duration.ofSeconds(1))) {
                    if (header(event, "ce_type").equals("UserRegistered")) {
                        var name = (ByteBuffer) registered.read(event.value()).get("name");
                        long sequence = Long.parseLong(header(event, "ce_sequence"));
                        names.put(event.key(), sealed.open("user", event.key(), sequence, "name", event.key(), name));
                    }
                }
            }
        }
        new ObjectMapper().writeValue(System.out, names);
    }

    private static String header(ConsumerRecord<?, ?> event, String name) {
        return new String(event.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }
}
