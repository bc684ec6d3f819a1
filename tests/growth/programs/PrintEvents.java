import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import com.fasterxml.jackson.databind.ObjectMapper;

/** Prints each event of a topic, to its present end, as a line of JSON: partition, offset, key, and its headers. */
public final class PrintEvents {
    public static void main(String[] arguments) throws Exception {
        var json = new ObjectMapper();
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0], "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            var partitions = consumer.partitionsFor(arguments[1]).stream()
                    .map(it -> new TopicPartition(it.topic(), it.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(it -> consumer.position(it) < ends.get(it))) {
                for (var event : consumer.poll(Duration.ofSeconds(1))) {
                    var shown = new LinkedHashMap<String, Object>();
                    shown.put("partition", event.partition());
                    shown.put("offset", event.offset());
                    shown.put("key", event.key());
                    event.headers().forEach(it -> shown.put(it.key(), new String(it.value(), StandardCharsets.UTF_8)));
                    System.out.println(json.writeValueAsString(shown));
                }
            }
        }
    }
}
