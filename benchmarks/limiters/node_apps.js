// Sites of thirty pages behind a limiter of Node: node_apps.js KIND HOST PORT COUNT SECONDS [headers]
const [kind, host, port, count, seconds, headers] = process.argv.slice(2);
const max = Number(count), duration = Number(seconds);
const index = Array.from({ length: 30 }, (_, n) => `<a href="/p${n}">${n}</a>`).join("");
const answer = (path) => path === "/" ? [200, index] : path === "/robots.txt" ? [404, ""] : [200, `page ${path}`];

if (kind === "express-rate-limit") {
  const express = require("express");
  const { rateLimit } = require("express-rate-limit");
  const app = express();
  app.use(rateLimit({ windowMs: duration * 1000, limit: max, legacyHeaders: headers === "legacy", standardHeaders: headers && headers !== "legacy" ? headers : false }));
  app.use((request, response) => { const [status, text] = answer(request.path); response.status(status).type("html").send(text); });
  app.listen(Number(port), host);
} else if (kind === "rate-limiter-flexible") {
  const { RateLimiterMemory } = require("rate-limiter-flexible");
  const limiter = new RateLimiterMemory({ points: max, duration });
  require("http").createServer((request, response) => {
    limiter.consume(request.socket.remoteAddress).then(() => {
      const [status, text] = answer(request.url);
      response.writeHead(status, { "Content-Type": "text/html" }).end(text);
    }, (refused) => {
      const fields = headers ? { "Retry-After": refused.msBeforeNext / 1000 } : {};
      response.writeHead(429, fields).end("Too Many Requests");
    });
  }).listen(Number(port), host);
} else if (kind === "fastify") {
  const app = require("fastify")();
  app.register(require("@fastify/rate-limit"), { max, timeWindow: duration * 1000, enableDraftSpec: headers === "draft" }).after(() => {
    app.get("/*", (request, reply) => { const [status, text] = answer(request.url); reply.code(status).type("text/html").send(text); });
  });
  app.listen({ port: Number(port), host });
} else if (kind === "hono") {
  const { Hono } = require("hono");
  const { serve } = require("@hono/node-server");
  const { rateLimiter } = require("hono-rate-limiter");
  const app = new Hono();
  app.use(rateLimiter({ windowMs: duration * 1000, limit: max, standardHeaders: headers || false, keyGenerator: () => "all" }));
  app.get("*", (context) => { const [status, text] = answer(context.req.path); return context.html(text, status); });
  serve({ fetch: app.fetch, port: Number(port), hostname: host });
} else if (kind === "hapi") {
  const server = require("@hapi/hapi").server({ port: Number(port), host });
  const options = { userLimit: max, pathLimit: false, userCache: { expiresIn: duration * 1000 } };
  server.register({ plugin: require("hapi-rate-limit"), options }).then(() => {
    server.route({ method: "GET", path: "/{path*}", handler: (request, h) => { const [status, text] = answer(request.path); return h.response(text).code(status).type("text/html"); } });
    return server.start();
  });
} else if (kind === "koa2-ratelimit") {
  const Koa = require("koa");
  const { RateLimit } = require("koa2-ratelimit");
  const app = new Koa();
  app.use(RateLimit.middleware({ interval: duration * 1000, max, delayAfter: 0 }));
  app.use((context) => { const [status, text] = answer(context.path); context.status = status; context.type = "html"; context.body = text; });
  app.listen(Number(port), host);
} else {
  const Koa = require("koa");
  const ratelimit = require("koa-ratelimit");
  const app = new Koa();
  app.use(ratelimit({ driver: "memory", db: new Map(), duration: duration * 1000, max, disableHeader: headers !== "headers" }));
  app.use((context) => { const [status, text] = answer(context.path); context.status = status; context.type = "html"; context.body = text; });
  app.listen(Number(port), host);
}
