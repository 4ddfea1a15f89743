/**
 * What the user and the machine have in, a Python that can carry the server out. Knows nothing of VS Code's API.
 *
 * In this order: the setting, the Python extension's, python3.13 to python3.11 and python3 on the path, and on Windows
 * `py -3`. What only pretends to be a Python is passed over: macOS's stub, which opens an installer, Windows' stub, which
 * opens the Store, and a shim that only complains.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { lastLine, type Program, run } from './process';

export const OLDEST = [3, 11] as const;

/** A place to look, and who named it. */
export interface Candidate extends Program {
	readonly source: string;
}

/** A Python that was asked about itself. `version`: "3.11.2"; `program`: its own file, outside any environment. */
export interface Interpreter extends Candidate {
	readonly version: string;
}

/** A candidate that will not do, and what to do about it. */
export interface Refusal {
	readonly candidate: Candidate;
	readonly reason: string;
}

const NAMES = ['python3.13', 'python3.12', 'python3.11', 'python3', 'python'];
const LIMIT = 20_000; // milliseconds for a probe: a cold disk, a busy machine

const PROBE = `
import importlib.util, json, platform, sys, sysconfig
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "implementation": platform.python_implementation(),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "missing": [one for one in ("venv", "ensurepip") if importlib.util.find_spec(one) is None],
    "base": getattr(sys, "_base_executable", None) or sys.executable,
}))`;

interface Said {
	readonly version: readonly [number, number, number];
	readonly implementation: string;
	readonly bits: number;
	readonly threaded: boolean;
	readonly missing: readonly string[];
	readonly base: string;
}

/** Everything to look at, in order. `setting` and `extension`: paths, null where there is none. */
export function candidates(
	setting: string | null,
	extension: string | null,
	environment: NodeJS.ProcessEnv = process.env,
	platform: NodeJS.Platform = process.platform,
): Candidate[] {
	const found: Candidate[] = [];
	const add = (file: string | null, source: string, prefix: readonly string[] = []): void => {
		if (file !== null && !isStub(file, platform) && !found.some((one) => one.path === file)) {
			found.push({ path: file, prefix, source });
		}
	};
	add(setting, 'the setting lacuna.interpreter');
	add(extension, 'the Python extension');
	for (const name of NAMES) {
		onPath(name, environment, platform).forEach((file) => add(file, 'the path'));
	}
	if (platform === 'win32') {
		onPath('py', environment, platform).forEach((file) => add(file, 'the Python launcher', ['-3']));
	}
	return found;
}

/**
 * The first candidate that can carry the server, and why those before it cannot. A bad setting is not passed over.
 * `only`: the one version that will do, such as "3.11"; null takes any that is new enough.
 */
export async function choose(
	list: readonly Candidate[],
	setting: string | null,
	only: string | null = null,
): Promise<{ interpreter: Interpreter | null; refusals: Refusal[] }> {
	const refusals: Refusal[] = [];
	if (setting !== null && list[0]?.path !== setting) {
		const candidate = { path: setting, prefix: [], source: 'the setting lacuna.interpreter' };
		return { interpreter: null, refusals: [{ candidate, reason: 'only offers to install a Python' }] };
	}
	for (const candidate of list) {
		const found = await probe(candidate, only);
		if (typeof found !== 'string') {
			return { interpreter: found, refusals };
		}
		refusals.push({ candidate, reason: found });
		if (candidate.path === setting) {
			break;
		}
	}
	return { interpreter: null, refusals };
}

/** A candidate's own word on itself, or why it will not do. */
export async function probe(candidate: Candidate, only: string | null = null): Promise<Interpreter | string> {
	const ended = await run(candidate, ['-I', '-c', PROBE], { limit: LIMIT });
	if (ended.failure !== null || ended.code !== 0) {
		return ended.failure ?? (lastLine(ended.stderr) || `ended with code ${String(ended.code)}`);
	}
	let said: Said;
	try {
		said = JSON.parse(lastLine(ended.stdout)) as Said;
	} catch {
		return 'is no Python';
	}
	const version = said.version.join('.');
	return complaint(said, version, only) ?? { path: said.base, prefix: [], source: candidate.source, version };
}

function complaint(said: Said, version: string, only: string | null): string | null {
	const [major, minor] = said.version;
	if (major !== OLDEST[0] || minor < OLDEST[1]) {
		return `is Python ${version}; Lacuna needs ${OLDEST.join('.')} or later`;
	}
	if (only !== null && only !== `${major}.${minor}`) {
		return `is Python ${version}; the packages in this extension are for ${only}`;
	}
	if (said.implementation !== 'CPython' || said.bits !== 64 || said.threaded) {
		return `is ${said.threaded ? 'a free-threaded' : `a ${said.bits}-bit`} ${said.implementation}; Lacuna needs an ordinary 64-bit CPython`;
	}
	if (said.missing.length > 0) {
		const package_ = `python${major}.${minor}-venv`;
		return `is Python ${version} without ${said.missing.join(' and ')}; on Debian or Ubuntu: sudo apt install ${package_}`;
	}
	return null;
}

/** The files of a name on the path, absolute folders only. */
export function onPath(name: string, environment: NodeJS.ProcessEnv, platform: NodeJS.Platform): string[] {
	const places = platform === 'win32' ? path.win32 : path.posix;
	const folders = (environment['PATH'] ?? environment['Path'] ?? '').split(places.delimiter);
	const file = platform === 'win32' ? `${name}.exe` : name;
	return folders
		.filter((folder) => places.isAbsolute(folder))
		.map((folder) => places.join(folder, file))
		.filter((one) => isFile(one));
}

function isStub(file: string, platform: NodeJS.Platform): boolean {
	if (platform === 'darwin') {
		return file === '/usr/bin/python3'; // of the command line tools, or a question to install them: 3.9 at best
	}
	return platform === 'win32' && /[\\/]Microsoft[\\/]WindowsApps[\\/]/i.test(file);
}

function isFile(file: string): boolean {
	try {
		fs.accessSync(file, fs.constants.X_OK);
		return fs.statSync(file).isFile();
	} catch {
		return false;
	}
}
