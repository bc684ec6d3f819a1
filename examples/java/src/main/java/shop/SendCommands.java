package shop;

import java.io.File;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Opens an order, adds a line, places it, and prints the reply to each command on a line.
 *
 * <p>Arguments: brokers, commands topic, a topic for replies, order id, and AddLine.v1.avsc of the shop.
 */
public final class SendCommands {
    private static final Duration LONGEST = Duration.ofSeconds(30);

    private final KafkaProducer<String, byte[]> producer;
    private final KafkaConsumer<String, String> replies;
    private final String commands;
    private final String replyTo;

    private SendCommands(String brokers, String commands, String replyTo) {
        this.commands = commands;
        this.replyTo = replyTo;
        // The default partitioner is the one that the shop expects: murmur2 of the key.
        producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", brokers, "acks", "all"), new StringSerializer(), new ByteArraySerializer());
        replies = new KafkaConsumer<>(
                Map.of("bootstrap.servers", brokers), new StringDeserializer(), new StringDeserializer());
        var partitions = replies.partitionsFor(replyTo).stream()
                .map(it -> new TopicPartition(it.topic(), it.partition())).toList();
        replies.assign(partitions);
        replies.seekToEnd(partitions);
        partitions.forEach(replies::position); // the end of now, not of later
    }

    public static void main(String[] arguments) throws Exception {
        var shop = new SendCommands(arguments[0], arguments[1], arguments[2]);
        String order = arguments[3];
        byte[] line = line(new Schema.Parser().parse(new File(arguments[4])));
        String id = UUID.randomUUID().toString();
        shop.ask(order, "OpenOrder", json("{\"user_id\": \"17850\", \"kind\": \"sale\"}"), "application/json");
        shop.ask(order, "AddLine", line, "avro/binary", id);
        shop.ask(order, "AddLine", line, "avro/binary", id); // as after a lost reply: no second line, the same reply
        shop.ask(order, "RemoveLine", json("{\"sku\": \"none\"}"), "application/json");
        shop.ask(order, "PlaceOrders", json("{}"), "application/json");
        shop.ask(order, "PlaceOrder", json("{}"), "application/json");
    }

    private void ask(String order, String type, byte[] data, String contentType) throws Exception {
        ask(order, type, data, contentType, UUID.randomUUID().toString());
    }

    /** Sends a command, as a CloudEvent in binary mode, and prints the reply, which comes when its outcome is durable. */
    private void ask(String order, String type, byte[] data, String contentType, String id) throws Exception {
        var headers = new LinkedHashMap<String, String>();
        headers.put("ce_specversion", "1.0");
        headers.put("ce_id", id);
        headers.put("ce_type", type);
        headers.put("ce_source", "/examples/java");
        headers.put("ce_replyto", replyTo);
        headers.put("content-type", contentType);
        var command = new ProducerRecord<>(commands, order, data);
        headers.forEach((name, value) -> command.headers().add(name, value.getBytes(StandardCharsets.UTF_8)));
        producer.send(command).get();
        long deadline = System.nanoTime() + LONGEST.toNanos();
        while (System.nanoTime() < deadline) {
            for (var reply : replies.poll(Duration.ofMillis(100))) {
                if (reply.key().equals(id)) {
                    System.out.println(reply.value());
                    return;
                }
            }
        }
        throw new IllegalStateException("no reply to " + type + " " + id + ": it is safe to send it again");
    }

    /** The data of an AddLine as an Avro single object. */
    private static byte[] line(Schema schema) throws Exception {
        var model = new GenericData();
        model.addLogicalTypeConversion(new Conversions.DecimalConversion());
        var line = new GenericRecordBuilder(schema)
                .set("sku", "85123A")
                .set("description", "T-LIGHT HOLDER")
                .set("quantity", 6L)
                .set("unit_price", new BigDecimal("2.5500"))
                .build();
        var bytes = new BinaryMessageEncoder<>(model, schema).encode(line);
        return List.of(bytes).get(0).array();
    }

    private static byte[] json(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
