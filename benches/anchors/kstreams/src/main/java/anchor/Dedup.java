package anchor;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * What a Kafka user would write instead of Weir's processor: Kafka Streams with exactly_once_v2, a windowed RocksDB
 * store of event ids (dedup) and a key-value RocksDB store with the last timestamp of each resource (order).
 * Input: key = resource key, header "id" = event id, header "ts" = occurred-at in ms (decimal text). The value is
 * forwarded as it is: no envelope is taken off, no CloudEvents headers are written, which is less than Weir does.
 * Arguments: bootstrap input output expected stateDir threads windowMs commitMs.
 * expected = number of input events to process before stopping; 0 = only bring the state up and report.
 */
public final class Dedup {
  static final LongAdder seen = new LongAdder();
  static final LongAdder out = new LongAdder();

  static final class Step implements Processor<byte[], byte[], byte[], byte[]> {
    private final long windowMs;
    private ProcessorContext<byte[], byte[]> context;
    private WindowStore<byte[], byte[]> ids;
    private KeyValueStore<byte[], byte[]> last;

    Step(long windowMs) {
      this.windowMs = windowMs;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
      this.context = context;
      ids = context.getStateStore("ids");
      last = context.getStateStore("last");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
      seen.increment();
      byte[] id = header(record, "id");
      long now = record.timestamp();
      try (var found = ids.fetch(id, now - windowMs, now + windowMs)) {
        if (found.hasNext()) {
          return;
        }
      }
      ids.put(id, new byte[] {1}, now);
      long ts = Long.parseLong(new String(header(record, "ts"), StandardCharsets.US_ASCII));
      byte[] before = last.get(record.key());
      if (before != null && ByteBuffer.wrap(before).getLong() > ts) {
        return;
      }
      last.put(record.key(), ByteBuffer.allocate(8).putLong(ts).array());
      out.increment();
      context.forward(record);
    }

    private static byte[] header(Record<byte[], byte[]> record, String name) {
      Header header = record.headers().lastHeader(name);
      return header == null ? record.key() : header.value();
    }
  }

  static Topology topology(String input, String output, long windowMs) {
    Topology topology = new Topology();
    var bytes = Serdes.ByteArray();
    topology.addSource("in", bytes.deserializer(), bytes.deserializer(), input);
    topology.addProcessor("dedup", () -> new Step(windowMs), "in");
    var ids = Stores.persistentWindowStore("ids", Duration.ofMillis(windowMs * 2), Duration.ofMillis(windowMs), false);
    topology.addStateStore(Stores.windowStoreBuilder(ids, bytes, bytes), "dedup");
    var last = Stores.persistentKeyValueStore("last");
    topology.addStateStore(Stores.keyValueStoreBuilder(last, bytes, bytes), "dedup");
    topology.addSink("out", output, bytes.serializer(), bytes.serializer(), "dedup");
    return topology;
  }

  static Properties settings(String[] args) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "anchor-" + args[2]);
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[5]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[7]);
    settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    settings.put(StreamsConfig.consumerPrefix("max.poll.records"), "5000");
    // As Weir's default.
    settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "15000");
    settings.put(StreamsConfig.producerPrefix("batch.size"), "131072");
    settings.put(StreamsConfig.producerPrefix("linger.ms"), "20");
    settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
    return settings;
  }

  static LongAdder countRestored(KafkaStreams streams) {
    LongAdder restored = new LongAdder();
    streams.setGlobalStateRestoreListener(new StateRestoreListener() {
      @Override
      public void onRestoreStart(TopicPartition partition, String store, long start, long end) {}

      @Override
      public void onBatchRestored(TopicPartition partition, String store, long end, long count) {
        restored.add(count);
      }

      @Override
      public void onRestoreEnd(TopicPartition partition, String store, long total) {}
    });
    return restored;
  }

  public static void main(String[] args) throws Exception {
    long expected = Long.parseLong(args[3]);
    KafkaStreams streams = new KafkaStreams(topology(args[1], args[2], Long.parseLong(args[6])), settings(args));
    LongAdder restored = countRestored(streams);
    CountDownLatch running = new CountDownLatch(1);
    streams.setStateListener((now, before) -> {
      if (now == KafkaStreams.State.RUNNING) {
        running.countDown();
      }
    });
    long started = System.nanoTime();
    streams.start();
    if (expected == 0) {
      running.await();
      double seconds = (System.nanoTime() - started) / 1e9;
      System.out.printf("kstreams restored=%d seconds=%.3f%n", restored.sum(), seconds);
    } else {
      while (seen.sum() < expected) {
        Thread.sleep(20);
      }
      System.out.printf("kstreams in=%d out=%d%n", seen.sum(), out.sum());
    }
    streams.close(Duration.ofSeconds(30));
  }
}
