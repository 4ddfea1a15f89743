/**
 * Settings and the machine in, the server that is to run out: the one a setting names, the extension's own environment
 * where the user has had one made, or a `lacuna` on the path. null: there is none yet, and the user has to be asked.
 */
import type { Environment } from './environment';
import { isWhole } from './environment';
import { lastLine, type Program, run } from './process';
import { onPath } from './python';
import type { Launch } from './settings';

export interface Server extends Program {
	/** For people: where it was found. */
	readonly source: string;
	readonly version: string;
}

/** The named server cannot be used; the message says why and what to do. */
export class ServerError extends Error {}

/** Where a server in our own environment is from. */
export const OWN = 'the extension’s own environment';

const LIMIT = 30_000; // milliseconds until a server has told its version: a cold disk, a busy machine

/** The server to run. Throws ServerError when the setting names one that cannot be used. */
export async function find(
	launch: Launch,
	own: Environment | null,
	oldest: string,
	log: (line: string) => void,
): Promise<Server | null> {
	if (launch.server !== null) {
		const found = await ask({ path: launch.server, prefix: [] }, 'the setting lacuna.server.path', oldest);
		if (typeof found === 'string') {
			throw new ServerError(
				`The server that lacuna.server.path names cannot be used: ${launch.server} ${found}. Change the setting, or empty it for the extension’s own.`,
			);
		}
		return found;
	}
	if (own !== null && (await isWhole(own))) {
		const found = await ask(own.server, OWN, oldest);
		if (typeof found !== 'string') {
			return found;
		}
		log(`${OWN} cannot be used: ${own.server.path} ${found}`);
	}
	for (const file of onPath('lacuna', process.env, process.platform)) {
		const found = await ask({ path: file, prefix: [] }, 'the path', oldest);
		if (typeof found !== 'string') {
			return found;
		}
		log(`passed over ${file}: it ${found}`);
	}
	return null;
}

/** A server that told its version, or why it will not do. */
export async function ask(program: Program, source: string, oldest: string): Promise<Server | string> {
	const ended = await run(program, ['--version'], { limit: LIMIT });
	if (ended.failure !== null || ended.code !== 0) {
		return ended.failure ?? `fails (${lastLine(ended.stderr) || `code ${String(ended.code)}`})`;
	}
	const version = /^lacuna (\d+\.\d+\.\d+\S*)$/m.exec(ended.stdout)?.[1];
	if (version === undefined) {
		return 'is something else than Lacuna';
	}
	return isOlder(version, oldest) ? `is version ${version}, and this extension needs ${oldest}` : { ...program, source, version };
}

/** Whether a version comes before another; what follows the three numbers does not count. */
export function isOlder(version: string, than: string): boolean {
	const [mine, theirs] = [version, than].map((one) => (one.match(/\d+/g) ?? []).slice(0, 3).map(Number));
	for (let at = 0; at < 3; at += 1) {
		const difference = (mine?.[at] ?? 0) - (theirs?.[at] ?? 0);
		if (difference !== 0) {
			return difference < 0;
		}
	}
	return false;
}
