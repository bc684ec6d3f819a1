package bench;

import java.util.Arrays;
import java.util.Locale;

/** How long each of some things took, in nanoseconds, as JSON in milliseconds. */
final class Latencies {

  private final long[] sorted;

  Latencies(long[] nanoseconds) {
    sorted = nanoseconds.clone();
    Arrays.sort(sorted);
  }

  private double at(double share) {
    if (sorted.length == 0) {
      return 0;
    }
    return sorted[Math.min(sorted.length - 1, (int) (sorted.length * share))] / 1e6;
  }

  String json() {
    return String.format(
        Locale.ROOT,
        "{\"count\": %d, \"p50\": %.3f, \"p99\": %.3f, \"p999\": %.3f}",
        sorted.length, at(0.5), at(0.99), at(0.999));
  }
}
