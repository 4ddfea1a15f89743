/**
 * A program and its arguments in, what it printed and how it ended out. Never a shell, never longer than it may take.
 */
import { spawn } from 'node:child_process';

/** A program with the arguments that always come first. */
export interface Program {
	readonly path: string;
	readonly prefix: readonly string[];
}

export interface Ended {
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
	/** Why it did not run at all, or not to its end. */
	readonly failure: string | null;
}

export interface Running {
	/** Milliseconds it may take. */
	readonly limit: number;
	readonly signal?: AbortSignal;
	readonly environment?: NodeJS.ProcessEnv;
	readonly directory?: string;
	/** Told each line of both outputs as it comes. */
	readonly line?: (line: string) => void;
}

const KEPT = 64_000; // characters of each output

/** Runs a program to its end. Does not throw: what went wrong is in the result. */
export function run(program: Program, args: readonly string[], how: Running): Promise<Ended> {
	return new Promise((resolve) => {
		const output = { stdout: '', stderr: '' };
		const rest = { stdout: '', stderr: '' };
		let failure: string | null = null;
		const child = spawn(program.path, [...program.prefix, ...args], {
			stdio: ['ignore', 'pipe', 'pipe'],
			windowsHide: true,
			env: how.environment ?? process.env,
			...(how.directory === undefined ? {} : { cwd: how.directory }),
		});
		const stop = (why: string): void => {
			failure ??= why;
			child.kill('SIGKILL');
			child.stdout.destroy(); // a child of its own may hold these open
			child.stderr.destroy();
		};
		const timer = setTimeout(() => stop(`took longer than ${Math.round(how.limit / 1000)} s`), how.limit);
		const abort = (): void => stop('was cancelled');
		how.signal?.addEventListener('abort', abort);
		if (how.signal?.aborted === true) {
			abort();
		}
		for (const name of ['stdout', 'stderr'] as const) {
			child[name].setEncoding('utf8').on('data', (text: string) => {
				output[name] = (output[name] + text).slice(-KEPT);
				const lines = (rest[name] + text).split(/\r?\n/);
				rest[name] = lines.pop() ?? '';
				lines.forEach((line) => how.line?.(line));
			});
		}
		child.on('error', (error) => (failure ??= error.message));
		child.on('close', (code) => {
			clearTimeout(timer);
			how.signal?.removeEventListener('abort', abort);
			for (const name of ['stdout', 'stderr'] as const) {
				if (rest[name] !== '') {
					how.line?.(rest[name]);
				}
			}
			resolve({ code, ...output, failure });
		});
	});
}

/** The last line that says something. */
export function lastLine(text: string): string {
	return text.trimEnd().split(/\r?\n/).at(-1)?.trim() ?? '';
}
