package bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import org.apache.pekko.actor.typed.ActorSystem;
import org.apache.pekko.persistence.cassandra.query.javadsl.CassandraReadJournal;
import org.apache.pekko.persistence.query.Offset;
import org.apache.pekko.persistence.query.PersistenceQuery;
import org.apache.pekko.stream.KillSwitches;
import org.apache.pekko.stream.SharedKillSwitch;
import org.apache.pekko.stream.javadsl.Sink;

/** Commands at an even pace: how long until each is answered, and until `eventsByTag` delivers its event. */
final class Tail {

  private static final int AMONG = 500;
  private static final long LAST_NANOSECONDS = 30_000_000_000L;
  private final ActorSystem<Void> system;
  private final Orders orders;
  private final CassandraReadJournal journal;
  private int runs = 0;

  Tail(ActorSystem<Void> system, Orders orders) {
    this.system = system;
    this.orders = orders;
    journal = PersistenceQuery.get(system)
        .getReadJournalFor(CassandraReadJournal.class, CassandraReadJournal.Identifier());
  }

  /** So many a second for so many seconds. Each counts from when it was due, so a late sender hides nothing. */
  String run(int rate, int seconds) throws InterruptedException {
    Map<String, Long> due = new ConcurrentHashMap<>();
    List<Long> replied = Collections.synchronizedList(new ArrayList<>());
    List<Long> visible = Collections.synchronizedList(new ArrayList<>());
    SharedKillSwitch end = KillSwitches.shared("tail-" + runs);
    Offset now = journal.timeBasedUUIDFrom(System.currentTimeMillis());
    for (int number = 0; number < Order.TAGS; number++) {
      journal
          .eventsByTag(Order.tag(number), now)
          .via(end.flow())
          .runWith(
              Sink.foreach(
                  it -> {
                    Long since = due.remove(((Order.LineAdded) it.event()).sku);
                    if (since != null) {
                      visible.add(System.nanoTime() - since);
                    }
                  }),
              system);
    }
    String run = "tail-" + runs++ + "-";
    Random random = new Random(1);
    int count = rate * seconds;
    long began = System.nanoTime();
    for (int i = 0; i < count; i++) {
      long since = began + i * 1_000_000_000L / rate;
      for (long left; (left = since - System.nanoTime()) > 0; ) {
        LockSupport.parkNanos(left);
      }
      due.put(run + i, since);
      orders
          .addLine("tail-" + random.nextInt(AMONG), run + i)
          .thenAccept(events -> replied.add(System.nanoTime() - since));
    }
    long deadline = System.nanoTime() + LAST_NANOSECONDS;
    while ((visible.size() < count || replied.size() < count) && System.nanoTime() < deadline) {
      Thread.sleep(50);
    }
    end.shutdown();
    return String.format(
        "{\"sent\": %d, \"reply\": %s, \"visible\": %s}", count, of(replied).json(), of(visible).json());
  }

  private static Latencies of(List<Long> took) {
    synchronized (took) {
      return new Latencies(took.stream().mapToLong(Long::longValue).toArray());
    }
  }
}
