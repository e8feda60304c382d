// The service that one client sees. Made for every request: one small object, not a closure for each of its methods.
import { type NodeService, OBJECT_CALLS, type ObjectMethod } from "../../shared/object-protocol.ts";
import { type ByteStream, type GetRequest, type GetResult } from "../../shared/object-service.ts";
import { type UpstreamClient } from "../platform.ts";

/** How calls of a client are made, by kind. */
export interface ClientCalls {
  json(client: UpstreamClient, method: ObjectMethod, request: unknown): Promise<unknown>;
  upload(
    client: UpstreamClient,
    method: ObjectMethod,
    request: unknown,
    body: ByteStream,
  ): Promise<unknown>;
  get(client: UpstreamClient, request: GetRequest): Promise<GetResult>;
}

/** A class with every method of OBJECT_CALLS. */
export function clientService(calls: ClientCalls): new (client: UpstreamClient) => NodeService {
  class ClientService {
    readonly client: UpstreamClient;
    constructor(client: UpstreamClient) {
      this.client = client;
    }
  }
  type Made = (this: ClientService, request: never, body: ByteStream) => Promise<unknown>;
  const methodOf = (method: ObjectMethod): Made => {
    switch (OBJECT_CALLS[method].kind) {
      case "read":
      case "write":
        return function json(request) {
          return calls.json(this.client, method, request);
        };
      case "upload":
        return function upload(request, body) {
          return calls.upload(this.client, method, request, body);
        };
      case "download":
        return function get(request) {
          return calls.get(this.client, request);
        };
    }
  };
  for (const method of Object.keys(OBJECT_CALLS) as ObjectMethod[])
    Object.defineProperty(ClientService.prototype, method, { value: methodOf(method) });
  // The table has every method of the service, with its shapes; the compiler cannot follow the pairing.
  return ClientService as unknown as new (client: UpstreamClient) => NodeService;
}
