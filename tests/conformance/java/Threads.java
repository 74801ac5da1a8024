// Many threads: pools, locks, parked and interrupted threads, thread-local memory, stacks that overflow.
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.concurrent.locks.*;
import java.util.stream.*;

public class Threads {
  static int depth;
  static void recurse() { depth++; recurse(); }

  public static void main(String[] arguments) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    List<Future<Long>> sums = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      final int k = i;
      sums.add(pool.submit(() -> LongStream.range(0, 200000).map(x -> x % (k + 1)).sum()));
    }
    long total = 0;
    for (Future<Long> f : sums) total += f.get();
    pool.shutdown();
    System.out.println("pool " + total + " " + pool.awaitTermination(10, TimeUnit.SECONDS));

    AtomicLong counter = new AtomicLong();
    ReentrantLock lock = new ReentrantLock();
    long[] plain = {0};
    Thread[] threads = new Thread[200];
    for (int i = 0; i < threads.length; i++) {
      threads[i] = new Thread(() -> {
        for (int j = 0; j < 200; j++) {
          counter.incrementAndGet();
          lock.lock();
          try { plain[0]++; } finally { lock.unlock(); }
          if (j % 50 == 0) Thread.yield();
        }
      });
      threads[i].start();
    }
    for (Thread t : threads) t.join();
    System.out.println("threads " + counter + " " + plain[0]);

    Thread sleeper = new Thread(() -> {
      try { Thread.sleep(100000); } catch (InterruptedException e) { System.out.println("interrupted"); }
    });
    sleeper.start();
    sleeper.interrupt();
    sleeper.join();

    Exchanger<Integer> exchanger = new Exchanger<>();
    CyclicBarrier barrier = new CyclicBarrier(4);
    AtomicInteger meetings = new AtomicInteger();
    Thread[] meeting = new Thread[4];
    for (int i = 0; i < 4; i++) {
      meeting[i] = new Thread(() -> {
        try {
          for (int j = 0; j < 500; j++) if (barrier.await() == 0) meetings.incrementAndGet();
        } catch (Exception e) { throw new RuntimeException(e); }
      });
      meeting[i].start();
    }
    for (Thread t : meeting) t.join();
    System.out.println("meetings " + meetings);

    SynchronousQueue<Integer> queue = new SynchronousQueue<>();
    Thread producer = new Thread(() -> {
      try { for (int i = 1; i <= 2000; i++) queue.put(i); } catch (InterruptedException e) { }
    });
    producer.start();
    int got = 0;
    for (int i = 0; i < 2000; i++) got += queue.take();
    System.out.println("handed over " + got);

    for (int i = 0; i < 3; i++) {
      try { recurse(); } catch (StackOverflowError e) { System.out.println("overflow " + (depth > 500)); }
    }
    int caught = 0;
    for (int i = 0; i < 20000; i++) {
      try { ((String) (i % 2 == 0 ? null : "x")).length(); } catch (NullPointerException e) { caught++; }
      try { caught += 1 / (i % 2); } catch (ArithmeticException e) { }
    }
    System.out.println("null " + caught);
    System.out.println("parallel " + IntStream.range(0, 1000000).parallel().filter(x -> x % 7 == 0).count());
    ScheduledExecutorService timer = Executors.newScheduledThreadPool(2);
    CountDownLatch ticks = new CountDownLatch(10);
    timer.scheduleAtFixedRate(ticks::countDown, 1, 2, TimeUnit.MILLISECONDS);
    System.out.println("ticks " + ticks.await(20, TimeUnit.SECONDS));
    timer.shutdownNow();
  }
}
