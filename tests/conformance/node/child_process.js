// Children: exec, spawn with pipes, fork with its channel, signals, limits, many at once.
const cp = require('child_process');
const {once} = require('events');

if (process.argv[2] === 'child') {
  process.on('message', (m) => m === 'end' ? process.disconnect() : process.send({got: m, from: 'child'}));
} else {
  (async () => {
    console.log(cp.execSync('echo from a child $((6*7))').toString().trim());
    const cat = cp.spawn('cat');
    let size = 0;
    cat.stdout.on('data', (d) => size += d.length);
    for (let i = 0; i < 64; i++) if (!cat.stdin.write(Buffer.alloc(65536, i))) await once(cat.stdin, 'drain');
    cat.stdin.end();
    console.log('cat', await once(cat, 'close'), size);
    const child = cp.fork(__filename, ['child']);
    for (const m of [1, 'two', {three: [3]}]) { child.send(m); console.log(JSON.stringify((await once(child, 'message'))[0])); }
    child.send('end');
    console.log('fork', await once(child, 'exit'));
    const sleeper = cp.spawn('sleep', ['100']);
    await once(sleeper, 'spawn');
    sleeper.kill('SIGTERM');
    console.log('killed', await once(sleeper, 'exit'));
    const missing = cp.spawn('/no/such/program');
    console.log('missing', (await once(missing, 'error'))[0].code);
    await new Promise((done) => cp.exec('sleep 100', {timeout: 50}, (e) => { console.log('timeout', e.killed, e.signal); done(); }));
    const sync = cp.spawnSync('sh', ['-c', 'cat; echo error >&2; exit 3'], {input: 'to the child'});
    console.log(sync.status, String(sync.stdout), String(sync.stderr).trim());
    const many = await Promise.all([...Array(40).keys()].map((i) =>
      new Promise((done) => cp.execFile('sh', ['-c', `echo ${i}; exit ${i % 3}`], (e, out) => done(+out + (e ? e.code : 0))))));
    console.log('many', many.reduce((a, b) => a + b));
    const group = cp.spawn('sh', ['-c', 'sleep 100 & wait'], {detached: true});
    await once(group, 'spawn');
    process.kill(-group.pid, 'SIGKILL');
    console.log('group', await once(group, 'exit'));
    const env = cp.spawnSync(process.execPath, ['-e', 'console.log(process.env.A, process.cwd())'], {env: {A: 'b'}, cwd: '/usr'});
    console.log(String(env.stdout).trim());
  })();
}
