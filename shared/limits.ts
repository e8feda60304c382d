// Every maximum and every time-out of the system, with unit and reason. Nothing is unbounded.

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

// Names and records (the S3 limits where S3 has one)
export const keyBytesMax = 1024;
export const metadataBytesMax = 2 * KiB;
export const contentHeadersBytesMax = 6 * KiB; // stored with an object besides; S3 allows 8 KB for both, and many clients read no more than 16
export const objectBytesMax = 5 * GiB; // of one PUT or one part
export const partBytesMin = 5 * MiB;
export const partNumberMax = 10_000;
export const listKeysMax = 1000;
export const deleteKeysMax = 1000;
export const xmlBytesMax = 2 * MiB; // 10,000 parts with checksums need about 1.5 MiB

// Bodies and blocks
export const inlineBytesMax = 16 * KiB; // stored beside the register: one round trip to read
export const blockBytesMax = 64 * MiB; // the paper's block size
export const pieceBytes = 128 * KiB; // unit of the block file's checksums
export const streamChunkBytes = 256 * KiB; // what one frame of a block stream carries at most
export const chunksKeptMax = 32; // buffers of a chunk that a process keeps for use again: 8 MiB
export const streamWindowBytes = 1 * MiB; // sent and not yet taken by the receiver, per stream and direction
export const stagedLeaseMs = 24 * 60 * 60 * 1000; // an unreferenced block is kept this long
export const garbageDelayMs = 60 * 60 * 1000; // longer than the longest read of a replaced version
export const writeGraceMs = 30; // how long a commit waits for the last copy
export const reserveBytesDefault = 1 * GiB; // a node refuses new blocks below this much free disk

// Calls between nodes
export const callTimeoutMs = 300; // then the next member is asked; the failure detector is never waited for
export const prepareTimeoutMs = 1000;
export const operationDeadlineMs = 20_000; // internal retries stop here
export const frameBytesMax = 16 * MiB;
export const callsInFlightMax = 10_000; // per peer
export const electionBackoffMs = 150; // times attempt, plus as much again at random
export const sentOnMax = 4; // members in a row that send a caller to another one: then it pauses, they may point at each other
export const viewPauseMs = 2; // times 2 to the power of the attempt, while nobody failed: a view is about to change
export const hedgeDelayMinMs = 20;

// Index
export const sliceBitsDefault = 12; // up to 100 nodes
export const copiesDefault = 3;
export const shardsDefault = 16;
export const electionKeysMax = 2_000; // names a PROMISE carries; above, the list is read in the background
export const settledBytesMax = 128 * MiB; // registers that a node's leaders keep ready, as they lie in memory
export const leaderNamesMax = 200_000; // register names a leader keeps, about 20 MiB; above, new keys cost a read
export const leaseRetryMs = 1_000; // after a lease that ran out could not be ended
export const dedupMax = 256; // request ids a register remembers
export const dedupMs = 60_000; // of leader time
export const noEffectsMax = 10_000; // requests without effect whose answers a node remembers for dedupMs
export const queueMax = 1000; // operations that wait on one register
export const uploadsMax = 1_000; // multipart uploads of one name under way: 2 MiB of metadata at most
export const garbageMax = 10_000; // replaced blocks a chain remembers until they are deleted: about 3 MiB
export const disownedMax = 1_000; // blocks a chain remembers as given up
export const lockQueueMax = 100; // native writers that wait for one lock
export const scanRowsMax = 2_000; // of one slice in one reply
export const scanBytesMax = 4 * MiB; // of register texts in one reply, but at least one row of each range
export const scanLeaderReadsMax = 16; // keys of one scan that a leader is asked for at once
export const pageBytesMax = 16 * MiB; // of stored rows read to list names and versions
export const syncRowsMax = 1_000;

// Ring and membership
export const stabilizeMs = 1_000;
export const stabilizeQuietMs = 4_000; // while nothing changes in the neighbourhood; a change is acted on at once
export const gossipMs = 1_000;
export const probeTimeoutMs = 500;
export const indirectProbes = 3;
export const suspectMs = 2_000; // shortest suspicion in up to ten nodes, times log10 of the nodes above: news needs that long
export const suspectFactor = 2.5; // longest suspicion, which confirmations shorten to the shortest
export const witnessesMax = 4; // nodes that find a member unreachable: more make a suspicion no shorter
export const localHealthMax = 3; // a node whose own probes fail waits up to so many times longer, once more
export const deadKeptMs = 72 * 60 * 60 * 1000;
export const hopsMax = 64;
export const tableRowsMax = 20_000; // of the member table; twice the largest cluster thought of
export const suspectRefusedMs = 1_000; // suspicion when the host refuses connections: it runs, the node does not
export const pingRowsMax = 16; // changes of the table that ride on one ping
export const announceMax = 32; // members a starting node greets itself; gossip tells the others
export const leaveTellMax = 32; // members that a leaving node tells itself before it is sure that the cluster knows
export const exchangeMs = 30_000; // between two comparisons of the whole member table
export const deadProbeMs = 5_000; // mean pause between two probes of the dead: how a healed partition is noticed
export const deadProbersMax = 10; // nodes that probe them in that time: in a larger cluster each does so less often
export const probesInFlightMax = 16;
export const notifiesMax = 8; // neighbours' notifies that wait for the ring's current operation
export const joinAskAtOnce = 4; // of them, the nearest first
export const joinAskMax = 16; // members a joiner asks for the ring before it starts from the table
export const ringRetryMs = 50; // after BUSY; plus as much again at random
export const grantKeptMs = 600_000; // a granted id that nobody uses is free again
export const grantRedirectsMax = 8;
export const snapshotMs = 1_000; // table changes wait this long to share one write

// Requests between gateway and node
export const clockSkewMs = 15 * 60 * 1000; // S3's own limit

// Coordinator
export const blocksInFlightMax = 2; // of one body: one being written, one being made durable
export const prefetchAheadBytes = 4 * MiB; // the next block is opened when this much of the current one is unsent
export const partReadsAheadMax = 4; // part registers read before they are needed
export const backgroundTasksMax = 64; // late pointers and clean-ups at work at once
export const backgroundWaitingMax = 1000; // of them that wait; more are left to leases and the chain checker
export const chunkHeaderBytesMax = 1024; // one line of aws-chunked framing
export const chunkTrailersMax = 16;
export const garbageBatchMax = 64; // blocks, part registers or uploads that one clean-up step handles at once
export const abortsInFlightMax = 16; // uploads that DeleteBucket aborts at once
export const linkedBlocksMax = 128; // of one copy by hard links, three renamings each; bodies of more blocks are read
export const linksInFlightMax = 8; // blocks of one copy

// Gateway
export const signingKeysMax = 1_000; // derived one-day keys kept: four HMACs each
export const bucketCacheMax = 1_000; // bucket records kept by a gateway: a stale one costs one more call, never a wrong answer
export const presignSecondsMax = 7 * 24 * 60 * 60; // S3's own limit
export const deleteParallelMax = 16; // deletes of one DeleteObjects call under way at once
export const bucketsListedMax = 10_000; // S3's own page of ListBuckets
export const targetBytesMax = 16 * KiB; // path and query of one request

// Index: quorums
export const acceptTimeoutMs = 1_000; // one ACCEPT, an fsync under load included
export const askAgainMs = 100; // a member that did not answer is asked again after this
export const askAgainMax = 3; // times, once the quorum has answered; then it is told to synchronise
export const quorumTimeoutMs = 4_000; // without a majority for this long a leader gives up
export const signOfLifeAfterMs = 200; // a call without an answer: its members are asked for a sign of life
export const signOfLifeMs = 400; // a member that is asked for one; no work waits before it
export const timerLateMs = 50; // a timer this late: the machine is overloaded, and silence proves nothing
export const signOfLifeFreshMs = 100; // a member that was heard is not asked for so long
export const signOfLifePauseMs = 50; // between two such questions
export const memberSilentMs = 750; // then two questions went without an answer: a slice without a majority refuses within a second
export const leaderPatienceMs = 1_500; // an operation without an answer goes to the next member
export const promiseNamesBytesMax = 4 * MiB; // of register names in one reply to a PREPARE
export const campaignBatchMax = 256; // slices claimed in one message
export const dutyMs = 1_000; // how often a node looks for slices that nobody leads
export const leaderlessRounds = 3; // such looks, after which any member campaigns and not the preferred one alone
export const syncRoundsMax = 5; // until two replicas' digests agree
export const syncPauseMs = 1_000; // between rounds
export const syncRetryMs = 5_000; // after a run that broke off, or left differences (then doubling)
export const syncRetryMaxMs = 60_000; // between runs that leave differences
export const syncLeaderReadsMax = 16; // registers that leaders settle for one node's synchronisation at once
export const checkerMs = 60_000; // how often a leader looks at its slices for garbage, locks and blocks to repair

// Repair of blocks by the leaders of their chains
export const repairTickMs = 1_000; // how often a leader looks whether there is anything to repair
export const repairRetryMs = 10_000; // after a step that could not be done
export const repairThinMs = 10_000; // a block named with too few copies: the last ones of a write may be on their way
export const repairLookMax = 4_096; // blocks that one look takes up, about 2 MiB; the next one follows when they are done
export const repairReportsAtOnce = 256; // reported blocks whose registers are read in a row
export const repairsInFlightMax = 8; // blocks a leader repairs at once
export const repairBytesPerSecond = 64 * MiB; // a leader has copied, so that clients keep most of disks and network
export const repairReportsMax = 10_000; // blocks that reads reported and nobody has looked at yet
export const reportsRememberedMax = 1_000; // bad copies that a node has reported of late
export const reportAgainMs = 30_000; // a copy that is still bad is reported again

// Index: views
export const joinAfterDefaultMs = 60_000; // a new node is alive for so long before it gets a place in a view
export const repairAfterDefaultMs = 60_000; // a node that is dead for so long is replaced: a restart takes less
export const viewChangesMax = 50; // slices in want of members whose view one leading node changes at once
export const calmChangesMax = 8; // other slices of which it does: they come one at a time, so few need be ready
export const viewDecisionsMax = 4; // slices of a leading node in want of members that stand between two views at once
export const movePauseDefaultMs = 100; // of a leader between two changes of slices that want nothing: all leaders change at the same time, beside clients
export const viewBegunMs = 1_000; // then the next slice need not wait for a change that does not come about
export const firstLeadPauseMs = 50; // before the first of a view asks for promises that it was not told, and members tell theirs again
export const firstLeadGrowth = 1.3; // of each such pause over the last one
export const firstLeadPauseMaxMs = 2_000; // then it is a duty like others
export const versionListRowsMax = 50_000; // (key, version) that a node keeps in memory for those who compare or join
export const nextWalkMs = 100; // after a change, when no other is left to begin, all slices are looked at again
export const viewRetryMs = 5_000; // after a change that did not come about
export const precopyWaitMs = 500; // a newcomer says after so long that it is not done
export const precopyPauseMs = 100; // then it is asked again
export const precopyTriesMax = 1_000; // times: ten minutes for one slice
export const precopiesMax = 8; // slices that a newcomer copies at once
export const precopyRoundsMax = 5; // over one slice, until little is left to copy
export const precopyKeptMs = 600_000; // a copy whose change never came is deleted
export const gatherPauseMs = 10; // between two tries to gather a view, doubling
export const gatherPauseMaxMs = 2_000;
export const installTimeoutMs = 1_000; // a member answers at half of it, active or not
export const toldRowsMax = 256; // (key, version) that a message tells of a slice unasked
export const sealHedgeMs = 50; // before not only those are asked to seal who are needed
export const installHedgeMs = 50; // before not only those are told to join whom a view needs to begin
export const settlePauseMs = 100; // between two rounds that tell the members of a new view, doubling
export const settlePauseMaxMs = 5_000;
export const tellLeftMax = 10; // times that a node that left the cluster is told of a view: it may answer for a while
export const namesToldMax = 4_096; // of a slice's registers, when its lead is handed over; else the next leader reads them
export const handoverStepMs = 1_000; // a member answers at half of it, whether it joined or not
export const servingMs = 2_000; // a leader that hands over is served for so long at most
export const settleBackupMs = 1_000; // before a node that did not decide a change sees to it as well
export const renewAtOnce = 16; // registers of an older epoch written again together
export const renewPauseMs = 20; // between two such groups: 800 a second on a node at most
export const viewPausesMax = 4_096; // newest pauses at changes of views that are summed up
export const viewPageMax = 1_000; // views in one reply, about 200 bytes each
export const viewLearnMs = 1_000; // before a node that found nobody to tell it views looks again
export const viewLearnTriesMax = 30;
export const viewTellersMax = 3; // nodes that tell one that was away of all views they know
export const viewSearchMax = 16; // nodes asked for a slice's view
export const viewSearchPauseMs = 500; // between two searches for one slice

// The hop between gateway and node
export const replayWindowNumbers = 16_384; // numbers of one session a node remembers: more than are in flight; 2 KiB
export const replaySessionsMax = 4_096; // gateway processes (at the edge many, short-lived) remembered at once: 8 MiB
export const callArgumentsBytesMax = 2 * MiB; // JSON arguments of one call; completeUpload with 10,000 parts is 0.7 MiB
export const callHeaderBytesMax = 64 * KiB; // all headers of one request; an upload's arguments are about 20 KiB at most
export const argumentsHeaderBytesMax = 60 * KiB; // of those headers: the arguments; what a client gives may be six times as long as ASCII JSON
export const callReplyBytesMax = 16 * MiB; // JSON of one reply or head; 1,000 listed entries with the longest names are 7 MiB
export const heldBodyBytesMax = 64 * KiB; // an upload up to this size is held by the gateway, so that another node can take it
export const resumesMax = 8; // of one download, each on another replica or after a pause
export const upstreamAttemptsMax = 4; // nodes tried for one request
export const membersRefreshMs = 3_000; // age at which a gateway asks for the member table again
export const membersStaleMs = 15_000; // then a request waits for its own refresh: edge runtimes end those that no request waits for
export const membersTimeoutMs = 1_000;
export const connectTimeoutMs = 1_000; // then the next node
export const readHeadTimeoutMs = 5_000; // a read's first attempts; reads can be repeated freely
export const callHeadTimeoutMs = operationDeadlineMs + 5_000; // a node's own deadline, and the way
export const copyHeadTimeoutMs = 600_000; // of a copy, which may read and write 5 GiB before it answers
export const bodyIdleTimeoutMs = 30_000; // a node that sends nothing for so long in the middle of a body is left
export const nodeSlowMs = 200; // a call without an answer: the node is asked for a sign of life
export const nodeSignMs = 400; // without one in so long another node is called, if the call may be repeated
export const lastNodeAsks = 4; // such questions where no other node may be called, or none has answered so far
export const refusalTriesMs = 500; // a refusal after so long is final: the node has tried for its own part, and 503 within 2 s is promised
export const avoidMinMs = 1_000; // a node that failed is asked last for so long, doubling
export const avoidMaxMs = 30_000;
export const clientOrdersMax = 1_000; // clients whose order of nodes a gateway remembers
export const nodePoolsMax = 1_000; // nodes a gateway keeps connections to
export const closeGraceMs = 5_000; // a closing server lets requests under way finish for so long
export const connectionIdleMs = 300_000; // a connection that neither sends nor takes a byte of its request for so long is closed

// Peer link
export const streamsPerLinkMax = 512; // each may hold a window of bytes on both ends
export const linkStreamAheadBytes = 512 * KiB; // stream bytes in a socket's queue: calls wait behind no more than this
export const linkBacklogBytesMax = 64 * MiB; // unsent bytes of one link; a peer that reads nothing is cut off here
export const linkDialTimeoutMs = 3_000; // TCP, TLS and hello together; a call's own time-out is usually shorter
export const linkSilentMs = 5_000; // a call timed out and nothing was heard for this long: dial anew
export const linkCloseMs = 500; // what is written may still leave; then the socket is destroyed
export const linksMax = 2_048; // sockets that peers may open to this node
export const bucketPagesMax = 100; // pages of all owners' buckets read for one ListBuckets
export const slowAnswerMs = 5_000; // then headers and a space now and then keep a slow Complete or Copy alive

// Block copies between nodes
export const forwardStallMs = 2_000; // a next node that takes no bytes for so long is dropped from the line
export const forwardStallPerHopMs = 500; // more for each node behind it, so that the one nearest to the fault drops it first
export const pipelineOpenTimeoutMs = 1_000; // then the node after it is asked
export const pipelineIdleMs = 120_000; // a line that brings no bytes for so long is given up, with its temporary file
export const pipelineWritesMax = 256; // blocks a node receives, or uploads, at once: about 1.5 MiB of buffers each
export const copyDurableTimeoutMs = 5_000; // from the last byte to the report of a copy: 64 MiB at 13 MB/s
export const replaceRoundsMax = 3; // rounds of replacement nodes for copies of one block that failed
export const replaceDeadlineMs = 15_000; // of one block, below operationDeadlineMs
export const nodeAvoidMs = 10_000; // a node that failed a copy or a read is asked last for so long
export const readsServedMax = 1_024; // block reads a node serves to peers at once
export const readStallMs = 2_000; // a replica that sends nothing for so long is left
export const readTriesMax = 2; // per replica, without a byte in between
export const readServeIdleMs = 300_000; // a reader that takes nothing for so long must open again
export const headSamplesMax = 256; // waits for a replica's head that the hedge delay is computed from
export const headSampleMs = 60_000;
export const discardTimeoutMs = 1_000; // best effort: leases cover the rest
export const deleteTimeoutMs = 10_000;
export const releaseTimeoutMs = 25_000; // of one replaced copy: its node asks the block's register before
export const deleteBatchMax = 64; // blocks in one call
export const sweepMs = 60 * 60 * 1000; // a twenty-fourth of the lease
export const sweepPageRows = 200;
export const announceMs = 10_000; // of free space
export const announceChangeBytes = 256 * MiB; // written or deleted since: announced at once
export const pullsMax = 64; // blocks a node pulls from replicas at once
export const pullTimeoutMs = 60_000; // of one block: 64 MiB at about 1 MB/s
export const linkTimeoutMs = 5_000; // of one hard link at a peer, and the copy where it cannot link
export const draftsOpenMax = 256; // of native writers on one node: a file descriptor each
export const draftStepsMax = 64; // writes and seals that wait on one draft
export const draftIdleMs = 15 * 60 * 1000; // a draft that nobody writes to for so long is dropped, with its file
export const draftsDroppedMax = 10_000; // dropped drafts a node remembers, so that late writes do not make them anew
export const sealTimeoutMs = 30_000; // reads 64 MiB twice, and maybe fetches them from a replica before

// Ordered store and block files
export const storeBatchBytesMax = 4 * MiB; // of one synced batch; more goes into the next, so that a sync stays short
export const sealsCachedMax = 1_000; // checksum tables of blocks in memory, 2 KiB each at most
export const storeWaitingMax = 100_000; // writes that wait for a sync; the disk stands still when there are more

// Native writes
export const nativeLeaseMinMs = 1_000;
export const nativeLeaseMaxMs = 600_000;
export const nativeCallWaitMs = 20_000; // of a client's call: proxies in between end silent ones at 30 s
export const readTokenMs = 60_000; // a URL that a lookup gave
export const writeTokenMs = 60 * 60 * 1000; // a URL that a grant gave: the fence is checked at every write besides
export const nativeWaitMaxMs = 30_000; // of one call that waits for a grant or a change
export const lockPollMinMs = 25; // first pause between two looks at a lock; then doubling
export const lockPollMaxMs = 250;
export const lockedWriteMs = 10_000; // an S3 write waits so long for a native writer, and holds the lock no longer

// Access keys and buckets as a gateway knows them
export const recordFreshMs = 5_000; // a record that was read is used without asking again
export const recordStaleMs = 10_000; // then a request waits until it was read again; before, it is read behind its back
export const recordWaitMs = 300; // such a request waits so long at most: then no node counts as telling the record
export const recordFailedMs = 5_000; // no request waits for so long after one was not told: it is read behind their backs
export const recordRefreshPauseMs = 1_000; // between two such readings, when the first was cut off or found no node
export const recordUnreachableMs = 60_000; // a known record stays good while no node tells it
export const keyUnknownMs = 1_000; // an id that names no key is remembered
export const keyTouchMs = 600_000; // between two notes of a key's last use: one write a key and gateway
export const keysCachedMax = 4_096; // keys, and ids that name none, that a gateway remembers
