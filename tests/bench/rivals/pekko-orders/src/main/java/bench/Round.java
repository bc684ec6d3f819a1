package bench;

import java.util.Locale;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;

/** Commands as fast as they are answered, so many without an answer at a time, to random orders of so many. */
final class Round {

  private final Orders orders;
  private final Random random = new Random(1);

  Round(Orders orders) {
    this.orders = orders;
  }

  /** From the first ask to the last answer. */
  String run(int count, int inFlight, int among) throws InterruptedException {
    Semaphore free = new Semaphore(inFlight);
    AtomicInteger errors = new AtomicInteger();
    long[] took = new long[count];
    long began = System.nanoTime();
    for (int i = 0; i < count; i++) {
      free.acquire();
      int number = i;
      long asked = System.nanoTime();
      orders
          .addLine(among + "-" + random.nextInt(among), "SKU-" + number % 100)
          .whenComplete(
              (events, error) -> {
                if (error != null) {
                  errors.incrementAndGet();
                }
                took[number] = System.nanoTime() - asked;
                free.release();
              });
    }
    free.acquire(inFlight);
    double seconds = (System.nanoTime() - began) / 1e9;
    return String.format(
        Locale.ROOT,
        "{\"rate\": %.1f, \"seconds\": %.3f, \"errors\": %d, \"latency\": %s}",
        count / seconds, seconds, errors.get(), new Latencies(took).json());
  }
}
