// Signals as events, the statuses of ends, standard streams that end.
const cp = require('child_process');
const {once} = require('events');

(async () => {
  const alive = setInterval(() => {}, 1000);  // waiting for a signal does not keep a process alive
  for (const signal of ['SIGUSR2', 'SIGHUP', 'SIGWINCH']) {
    const come = once(process, signal);
    process.kill(process.pid, signal);
    console.log((await come)[0]);
  }
  let ticks = 0;
  process.on('SIGUSR2', () => ticks++);
  for (let i = 0; i < 50; i++) {
    const before = ticks;
    process.kill(process.pid, 'SIGUSR2');
    while (ticks === before) await new Promise(setImmediate);
  }
  console.log('ticks', ticks);
  const run = (code) => cp.spawnSync(process.execPath, ['-e', code]);
  console.log(run('process.exit(7)').status);
  console.log(run('process.abort()').signal);
  console.log(run('throw 1').status);
  console.log(run('process.kill(process.pid, "SIGKILL"); setTimeout(() => {}, 1000)').signal);
  console.log(run('process.on("exit", (c) => console.log("exit", c)); process.exitCode = 4').stdout.toString().trim());
  console.log(run('(function f() { f(); })()').stderr.toString().includes('Maximum call stack size exceeded'));
  const pipe = cp.spawnSync('sh', ['-c', `"${process.execPath}" -e 'for (let i = 0; i < 100000; i++) console.log(i)' | head -n 3`]);
  console.log(pipe.stdout.toString().trim().split('\n').join());
  clearInterval(alive);
  console.log(cp.spawnSync(process.execPath, ['-'], {input: 'console.log(1 + 1)'}).stdout.toString().trim());
})();
