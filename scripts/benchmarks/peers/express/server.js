/* The same streams, sent with Express and res.write; peers/__init__.py says what the ids mean. argv[2] is the URL of a
 * database with the tables that targets.py makes: one statement each adds the question, reads it with what stands before
 * it, and adds the answer. */
'use strict';
const { randomUUID } = require('crypto');
const { setTimeout: sleep } = require('timers/promises');
const express = require('express');
const pg = require('pg');

const RUN = '01a2068c475c73508a42c6fefd9d97cb';
const HEAD = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform', 'X-Accel-Buffering': 'no' };
const HISTORY = 20;
const pool = new pg.Pool({ connectionString: process.argv[2], max: 8 });
const live = new Set();

const word = (number) => (number % 2 ? 'word' : ' ');
const event = (position, data) => `id: ${RUN}.1.${position}\ndata: ${JSON.stringify(data)}\n\n`;
const token = (number) => event(`${number}.${(5 * number) >> 1}`, { type: 'token', content: word(number) });
const end = (messageId) => event('end', { type: 'done', messageId, usage: null, stopReason: 'stop' });

/* Adds a message at the end of the conversation, which comes first in its list then. */
async function store(conversation, role, content) {
  const id = randomUUID();
  const { rowCount } = await pool.query({
    name: 'store',
    text: `WITH conversation AS (
             UPDATE peer_conversations SET last_position = last_position + 1, updated_at = now() WHERE id = $2
             RETURNING id, last_position)
           INSERT INTO peer_messages (id, conversation_id, position, role, content, created_at)
           SELECT $1, id, last_position, $3, $4, now() FROM conversation`,
    values: [id, conversation, role, content],
  });
  if (!rowCount) throw new Error('no such conversation');
  return id;
}

async function isThere(conversation, messageId) {
  const { rows } = await pool.query({
    name: 'history',
    text: 'SELECT id, role, content FROM peer_messages WHERE conversation_id = $1 ORDER BY position DESC LIMIT $2',
    values: [conversation, HISTORY],
  });
  return rows.some((row) => row.id === messageId);
}

async function generate(name, write, isOver) {
  const [, tokens, pace] = /(\d+)-(\d+)/.exec(name);
  let due = performance.now();
  for (let number = 1; number <= +tokens && !isOver(); number++) {
    write(token(number));
    due += +pace;
    if (+pace) await sleep(Math.max(0, due - performance.now()));
  }
}

async function stream(request, response) {
  const { name } = request.params;
  const stored = name.startsWith('pg-');
  if (stored && !(await isThere(name, request.query.triggerMessageId))) return response.sendStatus(404);
  response.writeHead(200, HEAD);
  response.write(`:ok\n\nretry: 1000\nid: ${RUN}.1.0.0\n\n`);
  if (name === 'live') {
    live.add(response);
    response.on('close', () => live.delete(response));
  } else if (name.startsWith('idle')) {
    const pings = setInterval(() => response.write(': ping\n\n'), +name.split('-')[1]);
    response.on('close', () => clearInterval(pings));
  } else {
    await generate(name, (data) => response.write(data), () => response.destroyed);
    if (response.destroyed) return;
    let id = randomUUID();
    if (stored) {
      const tokens = +/(\d+)-/.exec(name)[1];
      id = await store(name, 'assistant', Array.from({ length: tokens }, (_, index) => word(index + 1)).join(''));
    }
    response.write(end(id));
    response.end();
  }
}

async function publish(request, response) {
  const toAll = (data) => {
    for (const reader of live) reader.write(data);
  };
  await generate(request.params.name, toAll, () => false);
  toAll(end(randomUUID()));
  for (const reader of live) reader.end();
  live.clear();
  response.status(201).json({ id: randomUUID() });
}

const app = express();
app.use(express.json({ limit: '1mb' }));
app.post('/publish/:name', publish);
app.post('/api/conversations', async (request, response) => {
  await pool.query('INSERT INTO peer_conversations (id, last_position, updated_at) VALUES ($1, 0, now())', [request.body.id]);
  response.status(201).json({ id: request.body.id });
});
app.post('/api/conversations/:name/messages', async (request, response) => {
  const { role, content } = request.body;
  const { name } = request.params;
  response.status(201).json({ id: name.startsWith('pg-') ? await store(name, role, content) : randomUUID() });
});
app.get('/api/conversations/:name/stream', stream);
const server = app.listen(0, '127.0.0.1', 1024, () => {
  console.log(`ready at http://127.0.0.1:${server.address().port}`);
});
process.once('SIGTERM', () => process.exit(0));
