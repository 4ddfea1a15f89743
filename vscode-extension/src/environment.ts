/**
 * A Python, the wheel and its locked requirements in, an environment of the extension's own with the server in it out.
 *
 * It lies in the extension's storage, named after what it is made of: another wheel is another environment. A stamp
 * that is written last says that it is whole. Knows nothing of VS Code's API.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { lastLine, type Program, run } from './process';
import type { Interpreter } from './python';

/** What the .vsix brings. `packages`: every wheel, for machines without a network, or null. */
export interface Bundle {
	readonly wheel: string;
	readonly requirements: string;
	readonly packages: Packages | null;
}

/** A folder of wheels, and the one Python they are for, such as "3.11". */
export interface Packages {
	readonly folder: string;
	readonly python: string;
}

export interface Environment {
	readonly directory: string;
	readonly server: Program;
}

/** Told what is being done, and how much of the whole (0 to 1) it is done with. */
export type Tell = (words: string, done: number) => void;

/** It could not be made; the message says what to do. */
export class SetUpError extends Error {}

const STAMP = 'lacuna.json';
const LOCK = '.lock';
const MINUTES = 60_000;
const SPACE = 500; // megabytes that it takes at most while it is made
const SHARE = 0.9; // of the work, for the packages

/** What the .vsix brings, under `directory`. Throws SetUpError when it does not. */
export async function bundled(directory: string): Promise<Bundle> {
	const names: string[] = await fs.readdir(directory).catch(() => []);
	const wheel = names.find((name) => name.startsWith('lacuna_completion-') && name.endsWith('.whl'));
	if (wheel === undefined || !names.includes('requirements.txt')) {
		throw new SetUpError('This extension came without the server. Install it from a .vsix that `make vsix` made.');
	}
	const folder = names.find((name) => /^packages-\d+\.\d+$/.test(name));
	const python = folder?.split('-')[1];
	return {
		wheel: path.join(directory, wheel),
		requirements: path.join(directory, 'requirements.txt'),
		packages: folder === undefined || python === undefined ? null : { folder: path.join(directory, folder), python },
	};
}

/** The environment for a bundle, whole or not. `storage`: the folder that environments are made in. */
export async function locate(bundle: Bundle, storage: string): Promise<Environment> {
	const hash = createHash('sha256');
	for (const file of [bundle.wheel, bundle.requirements]) {
		hash.update(await fs.readFile(file));
	}
	const directory = path.join(storage, `environment-${hash.digest('hex').slice(0, 12)}`);
	const windows = process.platform === 'win32';
	const python = path.join(directory, windows ? 'Scripts' : 'bin', windows ? 'python.exe' : 'python');
	return { directory, server: { path: python, prefix: ['-I', '-m', 'lacuna'] } };
}

/** Whether it was made to the end and its Python is still there. */
export async function isWhole(environment: Environment): Promise<boolean> {
	try {
		await fs.access(path.join(environment.directory, STAMP));
		await fs.access(environment.server.path);
		return true;
	} catch {
		return false;
	}
}

/** Takes its stamp off: it is to be made anew. */
export async function unseal(environment: Environment): Promise<void> {
	await fs.rm(path.join(environment.directory, STAMP), { force: true });
}

/** Whether one was made before, by this version of the extension or an earlier one: then the user has agreed to it. */
export async function hasPredecessor(storage: string): Promise<boolean> {
	return (await environments(storage)).length > 0; // what could not be made to its end was taken away
}

/**
 * Makes the environment. Of several windows one does it and the others wait for it. Throws SetUpError; what was begun
 * is taken away again then.
 */
export async function build(
	environment: Environment,
	bundle: Bundle,
	interpreter: Interpreter,
	tell: Tell,
	log: (line: string) => void,
	signal: AbortSignal,
): Promise<void> {
	const storage = path.dirname(environment.directory);
	await usable(fs.mkdir(storage, { recursive: true }), storage);
	await exclusively(path.join(storage, LOCK), tell, signal, async () => {
		if (await isWhole(environment)) {
			return; // another window was faster
		}
		try {
			await make(environment, bundle, interpreter, tell, log, signal);
		} catch (error) {
			await fs.rm(environment.directory, { recursive: true, force: true }).catch(() => undefined);
			throw error;
		}
	});
}

/** Takes away what earlier versions of the extension made. Not right after `build`: their servers may still run. */
export async function tidy(environment: Environment): Promise<void> {
	const storage = path.dirname(environment.directory);
	for (const name of await environments(storage)) {
		if (name !== path.basename(environment.directory)) {
			await fs.rm(path.join(storage, name), { recursive: true, force: true }).catch(() => undefined);
		}
	}
}

async function make(
	environment: Environment,
	bundle: Bundle,
	interpreter: Interpreter,
	tell: Tell,
	log: (line: string) => void,
	signal: AbortSignal,
): Promise<void> {
	const { directory, server } = environment;
	const step = async (program: Program, args: readonly string[], line = log): Promise<void> => {
		log(`> ${program.path} ${[...program.prefix, ...args].join(' ')}`);
		const settings = { ...process.env, PIP_USER: '0', PIP_REQUIRE_VIRTUALENV: '0', PYTHONUTF8: '1' };
		const ended = await run(program, args, { limit: 30 * MINUTES, signal, environment: settings, line });
		if (signal.aborted) {
			throw new SetUpError('Setting up Lacuna was cancelled. “Lacuna: Set Up” begins again.');
		}
		if (ended.failure !== null || ended.code !== 0) {
			const full = (await isFull(storageOf(environment))) ? 'No space left on device' : ''; // venv keeps that to itself
			throw new SetUpError(explanation(ended.stdout + ended.stderr, ended.failure ?? full, storageOf(environment)));
		}
	};
	tell(`making an environment with Python ${interpreter.version}`, 0);
	await step(interpreter, ['-I', '-m', 'venv', '--clear', directory]);

	const pip = { path: server.path, prefix: ['-I', '-m', 'pip', '--disable-pip-version-check', '--no-input', 'install'] };
	const source = bundle.packages === null ? [] : ['--no-index', '--find-links', bundle.packages.folder];
	const locked = ['--require-hashes', '--only-binary', ':all:', '--retries', '2', '--progress-bar', 'off'];
	await step(pip, [...source, ...locked, '-r', bundle.requirements], counting(await count(bundle), tell, log));

	tell('unpacking the server and its model', SHARE);
	await step(pip, ['--no-index', '--no-deps', bundle.wheel]);
	tell('trying it', 0.97);
	await step(server, ['--version']);
	const stamp = { python: interpreter.version, wheel: path.basename(bundle.wheel), made: new Date().toISOString() };
	await usable(fs.writeFile(path.join(directory, STAMP), JSON.stringify(stamp)), directory);
}

/** Turns pip's lines into progress. */
function counting(total: number, tell: Tell, log: (line: string) => void): (line: string) => void {
	let seen = 0;
	return (line) => {
		log(line);
		const name = /^(?:Collecting |Processing .*[\\/])(\w+)/.exec(line)?.[1];
		if (name !== undefined) {
			seen += 1;
			const shown = Math.min(seen, total);
			tell(`package ${shown} of at most ${total}: ${name}`, 0.05 + (SHARE - 0.25) * (shown / total));
		} else if (line.startsWith('Installing collected packages')) {
			tell(`unpacking ${seen} packages`, SHARE - 0.2);
		}
	};
}

async function count(bundle: Bundle): Promise<number> {
	return (await fs.readFile(bundle.requirements, 'utf8')).split('\n').filter((line) => line.includes('==')).length;
}

/** What pip's complaint means for the user. */
export function explanation(output: string, failure: string, storage: string): string {
	if (/No space left on device|Errno 28\b|not enough space/i.test(output + failure)) {
		return `There is no room for Lacuna’s environment: it takes about ${SPACE} MB in ${storage}. Make room and set up again.`;
	}
	if (/Permission denied|Errno 13\b|Read-only file system/i.test(output + failure)) {
		return `Lacuna may not write in ${storage}. Mend its rights and set up again.`;
	}
	if (/DO NOT MATCH THE HASHES/.test(output)) {
		return 'A package is not the one that Lacuna was tested with, so it was not installed. Set up again; if it stays so, somebody on the way changes packages.';
	}
	if (/No matching distribution found|Could not find a version/.test(output)) {
		const unreachable = /NewConnectionError|Connection ?(refused|error|reset)|Temporary failure|timed out|ProxyError|SSLError/i;
		if (unreachable.test(output)) {
			return 'The package index cannot be reached. Look at the network, or at pip’s own settings (index-url, proxy, cert), and set up again.';
		}
		const name = /No matching distribution found for ([\w.-]+)/.exec(output)?.[1] ?? 'A package';
		return `${name} is not to be had for this Python and this machine. Choose another Python in the setting lacuna.interpreter (3.11 to 3.13 are tested) and set up again.`;
	}
	const last = output.trim() === '' ? failure : lastLine(output);
	return `Lacuna could not be set up: ${last || 'no reason was given'}. The log has the whole story.`;
}

async function environments(storage: string): Promise<string[]> {
	const names = await fs.readdir(storage).catch(() => []);
	return names.filter((name) => name.startsWith('environment-'));
}

async function isFull(folder: string): Promise<boolean> {
	const { bavail, bsize } = await fs.statfs(folder);
	return bavail * bsize < 10_000_000;
}

function storageOf(environment: Environment): string {
	return path.dirname(environment.directory);
}

async function usable<T>(doing: Promise<T>, where: string): Promise<T> {
	try {
		return await doing;
	} catch (error) {
		throw new SetUpError(explanation(error instanceof Error ? error.message : String(error), '', where));
	}
}

/** Does something while no other window does. A lock whose holder is gone is taken over. */
async function exclusively(lock: string, tell: Tell, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
	while (!(await take(lock))) {
		tell('another window is setting up', 0);
		await new Promise((resolve) => setTimeout(resolve, 500));
		if (signal.aborted) {
			throw new SetUpError('Another window goes on setting up.');
		}
	}
	try {
		await work();
	} finally {
		await fs.rm(lock, { force: true });
	}
}

async function take(lock: string): Promise<boolean> {
	try {
		await fs.writeFile(lock, String(process.pid), { flag: 'wx' });
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
			throw new SetUpError(explanation(String(error), '', path.dirname(lock)));
		}
	}
	const holder = Number(await fs.readFile(lock, 'utf8').catch(() => ''));
	if (Number.isInteger(holder) && holder > 0 && isAlive(holder)) {
		return false;
	}
	await fs.rm(lock, { force: true });
	return false; // the next turn tries again
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === 'EPERM';
	}
}
