/** A stand-in of a metadata service as the behaviour of a test's HTTP server. */
import type { Behaviour } from '../bad-http-server.ts';
import type { MetadataAnswer, MetadataService } from './service.ts';

/** Answers as the service does; `retouch` may change an answer on its way. */
export const serving =
  (
    service: MetadataService,
    retouch: (answer: MetadataAnswer) => MetadataAnswer = (answer) => answer,
  ): Behaviour =>
  (request, response) => {
    void Promise.resolve(service.answer(request)).then((told) => {
      const { status, body, headers } = retouch(told);
      response.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers }).end(body);
    });
  };
