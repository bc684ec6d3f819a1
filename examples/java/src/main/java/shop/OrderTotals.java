package shop;

import static shop.Topic.header;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import com.fasterxml.jackson.databind.ObjectMapper;

/**
 * Reads the events of all orders to their present end, and prints the total of each order as JSON.
 *
 * <p>Arguments: brokers, events topic, URL of the shop, and the URL of the schema registry if there is one.
 */
public final class OrderTotals {
    private record Line(String sku, BigDecimal amount) {}

    /** The place of an event in the shop's journal: later ones of a stream have greater places. */
    private record Place(long commit, int index) implements Comparable<Place> {
        public int compareTo(Place other) {
            return commit != other.commit ? Long.compare(commit, other.commit) : Integer.compare(index, other.index);
        }
    }

    private final EventReader added;
    private final EventReader removed;
    private final Map<String, List<Line>> lines = new TreeMap<>();
    private final Map<String, Place> applied = new HashMap<>();

    private OrderTotals(String shop, String registry) throws Exception {
        added = new EventReader("/LineAdded.avsc", shop, registry);
        removed = new EventReader("/LineRemoved.avsc", shop, registry);
    }

    public static void main(String[] arguments) throws Exception {
        String registry = arguments.length > 3 ? arguments[3] : "";
        var totals = new OrderTotals(arguments[2], registry);
        Topic.readToEnd(arguments[0], arguments[1], totals::apply);
        new ObjectMapper().writeValue(System.out, totals.totals());
    }

    private void apply(ConsumerRecord<String, byte[]> event) throws Exception {
        // Delivery is at least once: what is not newer than what was applied of its stream has been applied.
        String[] position = header(event, "ce_position").split(":");
        var place = new Place(Long.parseLong(position[1]), Integer.parseInt(position[2]));
        Place last = applied.get(position[0]);
        if (last != null && place.compareTo(last) <= 0) {
            return;
        }
        applied.put(position[0], place);
        List<Line> order = lines.computeIfAbsent(event.key(), id -> new ArrayList<>());
        switch (header(event, "ce_type")) {
            case "LineAdded" -> {
                GenericRecord line = added.read(event.value());
                var quantity = BigDecimal.valueOf((Long) line.get("quantity"));
                order.add(new Line(line.get("sku").toString(), quantity.multiply((BigDecimal) line.get("unit_price"))));
            }
            case "LineRemoved" -> {
                String sku = removed.read(event.value()).get("sku").toString();
                order.removeIf(line -> line.sku().equals(sku));
            }
            default -> { } // the rest says nothing about totals, and what comes in future years may be ignored too
        }
    }

    private Map<String, String> totals() {
        var totals = new TreeMap<String, String>();
        lines.forEach((id, order) -> totals.put(
                id, order.stream().map(Line::amount).reduce(BigDecimal.ZERO, BigDecimal::add).toPlainString()));
        return totals;
    }
}
