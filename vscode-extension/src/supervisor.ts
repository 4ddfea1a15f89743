/**
 * A Server in, a running one out: started, watched, started again with growing pauses, stopped. One at a time.
 */
import type { LanguageClient } from 'vscode-languageclient/node';
import type { Server } from './server';

/** `make`: a client for the server that calls its second argument when the server is gone. */
export interface Parts {
	readonly make: (server: Server, ended: (words: string) => void) => Promise<LanguageClient>;
	readonly starting: () => void;
	readonly running: (client: LanguageClient) => void;
	/** Given up; `reason` says what happened and what to do. */
	readonly failed: (reason: string) => void;
	readonly log: (line: string) => void;
	/** Milliseconds before each attempt to start again; after the last one it is given up. */
	readonly pauses?: readonly number[];
}

const PAUSES = [500, 1_000, 2_000, 5_000, 15_000]; // milliseconds
const STEADY = 60_000; // milliseconds a server has to run for its earlier ends to be forgotten
const PATIENCE = 2_000; // milliseconds for a server to leave by itself

/** Keeps one server running. Calls of `start` and `stop` follow one another. */
export class Supervisor {
	private client: LanguageClient | null = null;
	private timer: NodeJS.Timeout | undefined;
	private ends = 0;
	private since = Number.POSITIVE_INFINITY; // when the server was up, if it ever was
	private generation = 0;
	private queue: Promise<void> = Promise.resolve();

	constructor(private readonly parts: Parts) {}

	/** The client of the running server; null when there is none. */
	get current(): LanguageClient | null {
		return this.client?.isRunning() === true ? this.client : null;
	}

	/** Starts a server in place of the one that runs. */
	start(server: Server): Promise<void> {
		this.ends = 0;
		return this.after(() => this.launch(server));
	}

	/** Stops the server and starts no other. */
	stop(): Promise<void> {
		return this.after(() => this.end());
	}

	private after(work: () => Promise<void>): Promise<void> {
		clearTimeout(this.timer);
		this.queue = this.queue.then(work, work);
		return this.queue;
	}

	private async launch(server: Server): Promise<void> {
		await this.end();
		const generation = this.generation;
		let gone = false;
		this.since = Number.POSITIVE_INFINITY;
		const ended = (words: string): void => {
			if (!gone && generation === this.generation) {
				gone = true;
				this.again(server, words);
			}
		};
		this.parts.starting();
		this.parts.log(`starting ${server.path} (${server.version}, from ${server.source})`);
		try {
			const client = await this.parts.make(server, ended);
			this.client = client;
			await client.start();
			this.since = Date.now();
			if (!gone) {
				this.parts.running(client);
			}
		} catch (error) {
			ended(error instanceof Error ? error.message : String(error));
		}
	}

	private again(server: Server, words: string): void {
		this.ends = Date.now() - this.since > STEADY ? 1 : this.ends + 1;
		const pauses = this.parts.pauses ?? PAUSES;
		const pause = pauses[this.ends - 1];
		const said = words === '' ? '' : `: ${words}`;
		if (pause === undefined) {
			this.parts.failed(`The server ended ${this.ends} times in a row${said}`);
			return;
		}
		this.parts.log(`the server ended${said}; it starts again in ${pause} ms`);
		this.parts.starting();
		clearTimeout(this.timer);
		this.timer = setTimeout(() => void this.after(() => this.launch(server)), pause);
	}

	private async end(): Promise<void> {
		clearTimeout(this.timer);
		this.generation += 1;
		const client = this.client;
		this.client = null;
		if (client === null) {
			return;
		}
		try {
			await client.dispose(PATIENCE);
		} catch {
			client.serverProcess?.kill('SIGKILL'); // it was not running, or did not leave
		}
	}
}
