package shop;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.SchemaStore;
import com.fasterxml.jackson.databind.ObjectMapper;

/**
 * Reads the values of one type of event, whatever version wrote them and in either form, as this reader's own schema.
 * What is made for a schema is made once.
 */
final class EventReader {
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private final GenericData model = new GenericData();
    private final Schema own;
    private final String registry;
    private final BinaryMessageDecoder<GenericRecord> singleObjects;
    private final Map<Integer, GenericDatumReader<GenericRecord>> byId = new ConcurrentHashMap<>();

    /** {@code schemas} is where the shop serves /schemas; {@code registry} is a schema registry, or empty. */
    EventReader(String resource, String schemas, String registry) throws IOException {
        try (InputStream in = EventReader.class.getResourceAsStream(resource)) {
            this.own = new Schema.Parser().parse(in);
        }
        this.registry = registry;
        model.addLogicalTypeConversion(new Conversions.DecimalConversion());
        SchemaStore store = fingerprint -> new Schema.Parser().parse(get(schemas + "/schemas/" + hex(fingerprint)));
        this.singleObjects = new BinaryMessageDecoder<>(model, own, store);
    }

    GenericRecord read(byte[] value) throws IOException {
        return switch (value[0]) {
            case (byte) 0xc3 -> singleObjects.decode(value);
            case 0 -> fromRegistry(value);
            default -> throw new IOException("neither an Avro single object nor in the wire format of a registry");
        };
    }

    /** 00, the id of the schema in 4 bytes, the Avro body. */
    private GenericRecord fromRegistry(byte[] value) throws IOException {
        int id = ByteBuffer.wrap(value, 1, 4).getInt();
        var reader = byId.computeIfAbsent(id, unknown -> new GenericDatumReader<>(registered(unknown), own, model));
        return reader.read(null, DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null));
    }

    private Schema registered(int id) {
        try {
            var answer = new ObjectMapper().readTree(get(registry + "/schemas/ids/" + id));
            return new Schema.Parser().parse(answer.get("schema").asText());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The fingerprint as it stands in the header: its 8 bytes, little-endian. */
    private static String hex(long fingerprint) {
        byte[] bytes = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(fingerprint).array();
        return HexFormat.of().formatHex(bytes);
    }

    private static String get(String url) {
        try {
            var answer = HTTP.send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(url + ": " + answer.statusCode() + " " + answer.body());
            }
            return answer.body();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }
}
