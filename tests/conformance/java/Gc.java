// Garbage of all sizes from several threads, some of it kept, under a small heap; soft and weak references, direct memory.
import java.lang.ref.*;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.*;

public class Gc {
  public static void main(String[] arguments) throws Exception {
    int count = 4;
    long[] sums = new long[count];
    Thread[] threads = new Thread[count];
    for (int t = 0; t < count; t++) {
      final int me = t;
      threads[t] = new Thread(() -> {
        Random random = new Random(me);
        Object[] kept = new Object[2000];
        Map<Integer, String> map = new HashMap<>();
        for (int i = 0; i < 300000; i++) {
          int size = random.nextInt(100) == 0 ? 20000 : random.nextInt(300);
          byte[] some = new byte[size];
          if (size > 0) some[size - 1] = (byte) i;
          kept[random.nextInt(kept.length)] = new Object[] {some, kept[random.nextInt(kept.length)] instanceof byte[] b ? b : null};
          if (i % 3 == 0) map.put(i % 5000, "value" + i);
          sums[me] += some.length;
        }
        sums[me] += map.size();
      });
      threads[t].start();
    }
    for (int i = 0; i < 10; i++) { System.gc(); Thread.sleep(10); }
    for (Thread t : threads) t.join();
    System.out.println(Arrays.toString(sums));
    WeakReference<Object> weak = new WeakReference<>(new Object());
    for (int i = 0; i < 50 && weak.get() != null; i++) { System.gc(); Thread.sleep(10); }
    System.out.println("weak " + weak.get());
    long direct = 0;
    for (int i = 0; i < 200; i++) direct += ByteBuffer.allocateDirect(1 << 20).put(1000, (byte) 1).get(1000);
    System.out.println("direct " + direct);
    try {
      List<byte[]> all = new ArrayList<>();
      for (;;) all.add(new byte[1 << 20]);
    } catch (OutOfMemoryError e) {
      System.out.println("full");
    }
  }
}
