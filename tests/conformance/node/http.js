// A server and its clients, on the loopback (argument: tcp) or a socket of the file system (unix).
const http = require('http');
const {once} = require('events');

(async () => {
  const server = http.createServer((request, response) => {
    if (request.method === 'POST') {
      let size = 0;
      request.on('data', (d) => size += d.length).on('end', () => response.end(String(size)));
    } else if (request.url === '/big') {
      response.end(Buffer.alloc(3000000, 'x'));
    } else {
      response.writeHead(200, {'X-Path': request.url}).end('hello ' + request.url);
    }
  });
  const where = process.argv[2] === 'unix' ? {socketPath: '/tmp/http.socket'} : {host: '127.0.0.1'};
  server.listen(process.argv[2] === 'unix' ? where.socketPath : {port: 0, host: where.host});
  await once(server, 'listening');
  if (where.host) where.port = server.address().port;
  const agent = new http.Agent({keepAlive: true, maxSockets: 4});
  const get = (path, method = 'GET', body) => new Promise((yes, no) => {
    const request = http.request({...where, path, method, agent}, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (d) => text += d).on('end', () => yes(text));
    }).on('error', no);
    request.end(body);
  });
  console.log(await get('/one'));
  console.log((await get('/big')).length);
  console.log(await get('/', 'POST', Buffer.alloc(2000000)));
  const answers = await Promise.all([...Array(200).keys()].map((i) => get('/' + i)));
  console.log(answers.filter((a, i) => a === 'hello /' + i).length);
  agent.destroy();
  server.close();
  await once(server, 'close');
  await get('/late').catch((e) => console.log(e.code));
})();
