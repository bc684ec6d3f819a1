package shop;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.HexFormat;
import java.util.Map;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Opens personal fields: see docs/privacy.md, "The sealed form". {@code keys} has by subject the {@code number} of its
 * newest key, and the {@code key} in hex, or null for a person who was forgotten.
 */
final class Sealed {
    /** What stands for a value that nobody here can read, and for one that nobody can read any more. */
    static final Map<String, Boolean> SEALED = Map.of("sealed", true);
    static final Map<String, Boolean> ERASED = Map.of("erased", true);

    private static final byte[] DOMAIN = "sourced\0001".getBytes(StandardCharsets.UTF_8);
    private static final int HEADER = 18;

    private final String namespace;
    private final JsonNode keys;

    Sealed(String namespace, JsonNode keys) {
        this.namespace = namespace;
        this.keys = keys;
    }

    /** A field of an event as text, null, {@link #SEALED} or {@link #ERASED}. */
    Object open(String type, String id, long sequence, String field, String subject, ByteBuffer value)
            throws GeneralSecurityException {
        if (value == null) {
            return null;
        }
        byte[] bytes = new byte[value.remaining()];
        value.duplicate().get(bytes);
        JsonNode key = keys.get(subject);
        if (key != null && key.get("key").isNull()) {
            return ERASED;
        }
        if (bytes.length == 0 || bytes[0] != (byte) 0xf8) {
            return new String(bytes, StandardCharsets.UTF_8); // of a version without the mark
        }
        if (bytes[1] == 0) {
            return ERASED;
        }
        if (bytes[1] != 1) {
            throw new GeneralSecurityException("a sealed form " + bytes[1] + ", which this reader does not know");
        }
        if (key == null) {
            return SEALED;
        }
        if (ByteBuffer.wrap(bytes).getInt(2) < key.get("number").asInt()) {
            return ERASED;
        }
        var cipher = Cipher.getInstance("AES/GCM/NoPadding");
        var secret = new SecretKeySpec(HexFormat.of().parseHex(key.get("key").asText()), "AES");
        cipher.init(Cipher.DECRYPT_MODE, secret, new GCMParameterSpec(128, bytes, 6, 12));
        cipher.updateAAD(DOMAIN);
        for (String text : new String[] {namespace, type, id}) {
            byte[] part = text.getBytes(StandardCharsets.UTF_8);
            cipher.updateAAD(ByteBuffer.allocate(4).putInt(part.length).array());
            cipher.updateAAD(part);
        }
        cipher.updateAAD(ByteBuffer.allocate(8).putLong(sequence).array());
        cipher.updateAAD(field.getBytes(StandardCharsets.UTF_8));
        return new String(cipher.doFinal(bytes, HEADER, bytes.length - HEADER), StandardCharsets.UTF_8);
    }
}
