// Watches on the wire who votes in which view of a slice, without a word from the nodes. Invariants: an epoch of a
// slice has one view; only its members vote in it; who has answered SEAL votes in that epoch no more. Who serves a leader
// that hands over votes for that one still, until it is sealed for good or votes in the next epoch. What a node asks itself
// crosses no wire and is not seen.
import { type View, type ViewChange } from "../../node/index/views.ts";
import { type VoterId } from "../../shared/ids.ts";
import { type Slice } from "../../shared/slices.ts";
import { type Ballot, epochOf } from "../../shared/versions.ts";

interface Claim {
  readonly slice: Slice;
  readonly ballot: Ballot;
}

/** What a member's word counts for under a ballot. */
const UNDER_A_BALLOT: ReadonlySet<string> = new Set([
  "index.accept",
  "index.confirm",
  "index.readreg",
]);
const CHANGES: ReadonlySet<string> = new Set(["index.install", "index.enter", "index.seal"]);
const problemsMax = 20;

export class ViewsSeen {
  readonly #genesis: (slice: Slice) => View;
  /** Members by slice and epoch. */
  readonly #views = new Map<string, string>();
  /** Voters by slice and epoch. */
  readonly #votes = new Map<string, Set<VoterId>>();
  /** By slice, epoch and voter: the order in which SEAL was answered. */
  readonly #sealed = new Map<string, number>();
  /** By slice, epoch and voter: the ballot that it serves, there and after it gave up its vote. */
  readonly #served = new Map<string, Ballot>();
  /** By slice, epoch and voter: when it first voted under a ballot. */
  readonly #voted = new Map<string, number>();
  readonly #problems = new Set<string>();
  #order = 0;

  /** @param genesis views of epoch 1 */
  constructor(genesis: (slice: Slice) => View) {
    this.#genesis = genesis;
  }

  /** A request has come in at a voter; what is given back is told of the reply. */
  see(voter: VoterId | undefined, name: string, request: unknown): (reply: unknown) => void {
    const arrived = ++this.#order;
    if (CHANGES.has(name)) this.#seeChange(request as Change);
    // From here on: what it answers meanwhile to others counts already.
    if (voter !== undefined && CHANGES.has(name)) this.#seeServed(voter, request as Change);
    return (reply) => {
      if (voter === undefined) return;
      if (name === "index.seal") this.#seeSealed(voter, request as Change, reply as SealReply);
      for (const { slice, epoch, ballot } of votesIn(name, request, reply)) {
        const at = `${nameOf(slice, epoch)} ${voter}`;
        const isServed = ballot !== undefined && this.#served.get(at) === ballot;
        if (isServed) this.#seeServedVote(voter, slice, epoch, arrived);
        else this.#seeVote(voter, slice, epoch, arrived);
        if (ballot !== undefined && !this.#voted.has(at)) this.#voted.set(at, ++this.#order);
      }
    };
  }

  /** What broke an invariant; each once. */
  problems(): string[] {
    const found = [...this.#problems];
    for (const [at, voters] of this.#votes) {
      const members = this.#views.get(at);
      if (members === undefined) continue;
      const strangers = [...voters].filter((voter) => !members.includes(voter));
      for (const voter of strangers) found.push(`${at}: ${voter} votes, and is none of ${members}`);
    }
    return found;
  }

  #seeChange({ slice, change }: Change): void {
    const { view, previous } = change;
    // What an operator orders after the loss of a majority skips epochs, and names of the view before who is left.
    const known = view.epoch === previous.epoch + 1 ? [view, previous] : [view];
    for (const { epoch, members } of [this.#genesis(slice), ...known]) {
      const at = nameOf(slice, epoch);
      const before = this.#views.get(at) ?? members.join();
      this.#views.set(at, before);
      if (before !== members.join())
        this.#note(`${at} has two views: ${before} and ${members.join()}`);
    }
  }

  #seeServed(voter: VoterId, { slice, change, leader }: Change): void {
    if (leader === undefined) return;
    this.#served.set(`${nameOf(slice, change.previous.epoch)} ${voter}`, leader);
  }

  #seeSealed(voter: VoterId, { slice, change, leader }: Change, reply: SealReply): void {
    if (!reply.ok || reply.state === "joined" || leader !== undefined) return;
    const at = `${nameOf(slice, change.previous.epoch)} ${voter}`;
    if (!this.#sealed.has(at)) this.#sealed.set(at, ++this.#order);
  }

  #seeVote(voter: VoterId, slice: Slice, epoch: number, arrived: number): void {
    const at = nameOf(slice, epoch);
    const voters = this.#votes.get(at) ?? new Set();
    this.#votes.set(at, voters.add(voter));
    // What came in before may be answered later: it was decided on before.
    const sealed = this.#sealed.get(`${at} ${voter}`) ?? Infinity;
    if (sealed < arrived) this.#note(`${at}: ${voter} votes although it was sealed`);
  }

  /** A vote for a leader that hands over; members of the next view are among those who may give it. */
  #seeServedVote(voter: VoterId, slice: Slice, epoch: number, arrived: number): void {
    const at = nameOf(slice, epoch);
    const sealed = this.#sealed.get(`${at} ${voter}`) ?? Infinity;
    const later = this.#voted.get(`${nameOf(slice, epoch + 1)} ${voter}`) ?? Infinity;
    if (Math.min(sealed, later) < arrived)
      this.#note(`${at}: ${voter} serves its leader although it was sealed, or votes in the next`);
  }

  #note(problem: string): void {
    if (this.#problems.size < problemsMax) this.#problems.add(problem);
  }
}

interface Change {
  readonly slice: Slice;
  readonly change: ViewChange;
  /** Who hands over. */
  readonly leader?: Ballot;
}

interface SealReply {
  readonly ok: boolean;
  readonly state?: string;
}

const nameOf = (slice: Slice, epoch: number): string => `slice ${slice} epoch ${epoch}`;

/** In which epochs of which slices a reply is a vote. */
function votesIn(
  name: string,
  request: unknown,
  reply: unknown,
): { readonly slice: Slice; readonly epoch: number; readonly ballot?: Ballot }[] {
  if (name === "index.prepare") {
    const answers = reply as readonly { readonly ok: boolean }[];
    return (request as { claims: Claim[] }).claims
      .filter((_, i) => answers[i]?.ok === true)
      .map(({ slice, ballot }) => ({ slice, epoch: epochOf(ballot), ballot }));
  }
  if ((reply as { ok?: boolean } | undefined)?.ok !== true) return [];
  const { slice, ballot } = request as Claim;
  if (UNDER_A_BALLOT.has(name)) return [{ slice, epoch: epochOf(ballot), ballot }];
  if (name === "index.readfast") return [{ slice, epoch: (reply as { epoch: number }).epoch }];
  return [];
}
