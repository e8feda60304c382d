// The coordinator: what a node offers to gateways, made of the index and the data module. Holds no state of its own
// but the background work it started; any node can serve any request.
import { RingstowError } from "../../shared/errors.ts";
import { type NodeService } from "../../shared/object-protocol.ts";
import { type NodeConfig } from "../config.ts";
import { type Data } from "../data/types.ts";
import { type Index, type RegisterAddress, type RepairStep } from "../index/types.ts";
import { type Chance, type Clock, type Digest, type Log } from "../ports.ts";
import { type Route } from "../route/types.ts";
import { Background } from "./background.ts";
import { createBucket, deleteBucket, getBucket, listBuckets } from "./buckets.ts";
import { type Context } from "./context.ts";
import { copy, copyPart } from "./copy.ts";
import { deleteObject } from "./delete.ts";
import { freeGarbage } from "./garbage.ts";
import { get } from "./get.ts";
import { createKeyService } from "./keys.ts";
import { listUploads } from "./list-uploads.ts";
import { list } from "./list.ts";
import { createNativeService } from "./native-service.ts";
import { abortUpload, completeUpload, createUpload } from "./multipart.ts";
import { listParts, putPart } from "./parts.ts";
import { repairBlock } from "./repair.ts";
import { put } from "./put.ts";

export interface ObjectDeps {
  readonly config: NodeConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly digest: Digest;
  readonly index: Index;
  readonly data: Data;
  readonly route: Route;
  readonly log: Log;
}

export interface ObjectModule extends NodeService {
  /**
   * Frees the due garbage of a chain. The index's chain checker calls it for chains led here. An expected failure is
   * logged and left to the next round: one chain that cannot be freed must not keep the others from it.
   */
  freeGarbage(at: RegisterAddress): Promise<void>;
  /** One step of a block's repair; see repair.ts. */
  repairBlock(step: RepairStep): Promise<boolean>;
  /** Resolves when no background work runs or waits. */
  settled(): Promise<void>;
  /** Takes no more background work; resolves when what runs has ended. Stop it before index and data. */
  stop(): Promise<void>;
}

export function createObjectService(deps: ObjectDeps): ObjectModule {
  const { clock, chance, digest, index, data, log } = deps;
  const background = new Background(log);
  const { sliceBits } = deps.config.genesis;
  const { hopSecret } = deps.config;
  const context: Context = {
    clock,
    chance,
    digest,
    index,
    data,
    log,
    background,
    sliceBits,
    hopSecret,
  };
  return {
    createBucket: (request) => createBucket(context, request),
    getBucket: (request) => getBucket(context, request.name),
    deleteBucket: (request) => deleteBucket(context, request),
    listBuckets: (request) => listBuckets(context, request),
    put: (request, body) => put(context, request, body),
    get: (request) => get(context, request),
    delete: (request) => deleteObject(context, request),
    list: (request) => list(context, request),
    copy: (request) => copy(context, request),
    copyPart: (request) => copyPart(context, request),
    createUpload: (request) => createUpload(context, request),
    putPart: (request, body) => putPart(context, request, body),
    completeUpload: (request) => completeUpload(context, request),
    abortUpload: (request) => abortUpload(context, request),
    listParts: (request) => listParts(context, request),
    listUploads: (request) => listUploads(context, request),
    ...createNativeService(context, deps.route),
    ...createKeyService(context),
    async freeGarbage(at) {
      try {
        await freeGarbage(context, at);
      } catch (error) {
        if (!(error instanceof RingstowError)) throw error;
        log.warn("Cannot free garbage yet", { key: at.key, error: String(error) });
      }
    },
    repairBlock: (step) => repairBlock(context, step),
    settled: () => background.settled(),
    stop: () => background.stop(),
  };
}
