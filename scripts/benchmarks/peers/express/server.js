/* The same streams, sent with Express and res.write. A conversation whose id begins with `pg-` has its messages in the
 * database at argv[2], with one statement each to add the question, look it up, and add the answer. */
'use strict';
const { randomUUID } = require('crypto');
const { setTimeout: sleep } = require('timers/promises');
const express = require('express');
const pg = require('pg');

const RUN = '01a2068c475c73508a42c6fefd9d97cb';
const HEAD = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform', 'X-Accel-Buffering': 'no' };
const pool = new pg.Pool({ connectionString: process.argv[2], max: 8 });
const live = new Set();

const event = (position, data) => `id: ${RUN}.1.${position}\ndata: ${JSON.stringify(data)}\n\n`;
const token = (number) =>
  event(`${number}.${(5 * number) >> 1}`, { type: 'token', content: number % 2 ? 'word' : ' ' });
const end = (messageId) => event('end', { type: 'done', messageId, usage: null, stopReason: 'stop' });

async function insert(conversation, role, content) {
  const id = randomUUID();
  await pool.query({
    name: 'insert',
    text: 'INSERT INTO peer_messages (id, conversation, role, content) VALUES ($1, $2, $3, $4)',
    values: [id, conversation, role, content],
  });
  return id;
}

async function stream(request, response) {
  const [, stored, tokens, pace] = /^(pg-)?(\d+)-(\d+)|^live/.exec(request.params.id);
  if (stored) {
    const question = { name: 'find', text: 'SELECT content FROM peer_messages WHERE id = $1', values: [request.query.triggerMessageId] };
    if (!(await pool.query(question)).rows.length) return response.sendStatus(404);
  }
  response.writeHead(200, HEAD);
  response.write(`:ok\n\nretry: 1000\nid: ${RUN}.1.0.0\n\n`);
  if (tokens === undefined) {
    live.add(response);
    return;
  }
  let due = performance.now();
  for (let number = 1; number <= tokens; number++) {
    response.write(token(number));
    due += +pace;
    if (+pace) await sleep(Math.max(0, due - performance.now()));
  }
  response.write(end(stored ? await insert(request.params.id, 'assistant', 'Echo from agent') : randomUUID()));
  response.end();
}

function publish(request, response) {
  for (let number = 1; number <= +request.body; number++) {
    const data = token(number);
    for (const reader of live) reader.write(data);
  }
  for (const reader of live) reader.end(end(randomUUID()));
  live.clear();
  response.status(201).json({ id: randomUUID() });
}

async function main() {
  await pool.query('CREATE TABLE IF NOT EXISTS peer_messages (id uuid PRIMARY KEY, conversation text, role text, content text)');
  const app = express();
  app.use(express.json({ strict: false }));
  app.post('/publish', publish);
  app.post('/api/conversations/:id/messages', async (request, response) => {
    const { role, content } = request.body;
    const id = request.params.id.startsWith('pg-') ? await insert(request.params.id, role, content) : randomUUID();
    response.status(201).json({ id });
  });
  app.get('/api/conversations/:id/stream', stream);
  const server = app.listen(0, '127.0.0.1', 1024, () => {
    console.log(`ready at http://127.0.0.1:${server.address().port}`);
  });
  process.once('SIGTERM', () => process.exit(0));
}

main();
