// Workers that share memory, wait for one another, and are ended from outside.
const {Worker, isMainThread, parentPort, workerData, MessageChannel} = require('worker_threads');

if (!isMainThread) {
  const {kind, memory, number} = workerData;
  const words = memory && new Int32Array(memory);
  if (kind === 'add') {
    for (let i = 0; i < 10000; i++) Atomics.add(words, 0, number);
    parentPort.postMessage(number);
  } else if (kind === 'token') {  // hands a token on: each waits for its number
    for (let round = 0; round < 200; round++) {
      for (;;) {
        const now = Atomics.load(words, 1);
        if (now % 4 === number) break;
        Atomics.wait(words, 1, now);
      }
      Atomics.add(words, 1, 1);
      Atomics.notify(words, 1);
    }
    parentPort.postMessage('passed');
  } else if (kind === 'loop') {
    parentPort.postMessage('looping');
    for (;;);
  } else if (kind === 'throw') {
    throw new Error('thrown in a worker');
  } else if (kind === 'echo') {
    parentPort.on('message', (m) => m === null ? parentPort.close() : parentPort.postMessage(m * 2));
  }
} else {
  const start = (data) => new Worker(__filename, {workerData: data});
  const result = (worker) => new Promise((yes, no) => {
    worker.removeAllListeners('error').once('error', no).once('message', yes);
  });
  (async () => {
    const memory = new SharedArrayBuffer(16), words = new Int32Array(memory);
    await Promise.all([1, 2, 3, 4].map((number) => result(start({kind: 'add', memory, number}))));
    console.log('sum', words[0]);
    const passed = await Promise.all([0, 1, 2, 3].map((number) => result(start({kind: 'token', memory, number}))));
    console.log('tokens', words[1], passed.join());
    const looping = start({kind: 'loop'});
    await result(looping);
    console.log('terminated', await looping.terminate());
    await result(start({kind: 'throw'})).catch((e) => console.log('error', e.message));
    const echo = start({kind: 'echo'});
    let total = 0;
    for (let i = 0; i < 500; i++) { echo.postMessage(i); total += await result(echo); }
    echo.postMessage(null);
    await new Promise((done) => echo.once('exit', done));
    console.log('echo', total);
    let ended = 0;
    await Promise.all([...Array(12).keys()].map((number) => new Promise((done) =>
      start({kind: 'add', memory, number}).once('exit', (status) => { ended += status === 0; done(); }))));
    console.log('ended', ended);
    const {port1, port2} = new MessageChannel();
    port2.once('message', (m) => { console.log('port', m); port1.close(); });
    port1.postMessage('through a channel');
  })();
}
