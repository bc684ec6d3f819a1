package bench;

import java.time.Duration;
import java.util.concurrent.CompletionStage;
import org.apache.pekko.actor.typed.ActorSystem;
import org.apache.pekko.cluster.MemberStatus;
import org.apache.pekko.cluster.sharding.typed.javadsl.ClusterSharding;
import org.apache.pekko.cluster.sharding.typed.javadsl.Entity;
import org.apache.pekko.cluster.typed.Cluster;
import org.apache.pekko.cluster.typed.Join;

/** All orders, sharded over a cluster of one node. */
final class Orders {

  private static final Duration ASK_TIMEOUT = Duration.ofSeconds(60);
  private final ClusterSharding sharding;

  /** Returns when the node is up. */
  Orders(ActorSystem<Void> system) throws InterruptedException {
    Cluster cluster = Cluster.get(system);
    cluster.manager().tell(Join.create(cluster.selfMember().address()));
    sharding = ClusterSharding.get(system);
    sharding.init(Entity.of(Order.KEY, context -> new Order(context.getEntityId())));
    while (!cluster.selfMember().status().equals(MemberStatus.up())) {
      Thread.sleep(100);
    }
  }

  /** Adds a line; the answer comes when its event is in the journal. */
  CompletionStage<Integer> addLine(String order, String sku) {
    return sharding.entityRefFor(Order.KEY, order).ask(replyTo -> new Order.AddLine(sku, replyTo), ASK_TIMEOUT);
  }
}
