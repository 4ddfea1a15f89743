/**
 * VS Code's configuration in, frozen Settings out: those that the server goes by, and those that say which server it is.
 *
 * The defaults are in package.json, and a test holds them against the server's. Ignores which document they are for.
 */
import * as os from 'node:os';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Switches } from './here';

export const SECTION = 'lacuna';

/** What the server is sent, in its words: docs/settings.md. */
export type ServerOptions = Readonly<Record<string, unknown>>;

/** Which server runs, and how. Another value of these needs another process. */
export interface Launch {
	readonly server: string | null;
	/** The team server's address; null for the model on this machine. */
	readonly url: string | null;
	readonly interpreter: string | null;
	readonly model: string | null;
	readonly threads: number | null;
	readonly completion: boolean | null;
}

export interface Settings extends Switches {
	readonly launch: Launch;
	readonly options: ServerOptions;
}

/** The settings as they are now. */
export function read(): Settings {
	const found = vscode.workspace.getConfiguration(SECTION);
	const enabled = found.get<boolean>('enabled', true);
	const languages = found.get<Record<string, boolean>>('languages', {});
	const completion = found.get<boolean | null>('completion', null);
	return {
		enabled,
		languages,
		inlineSuggest: vscode.workspace.getConfiguration('editor').get<boolean>('inlineSuggest.enabled', true),
		launch: {
			server: place(found.get<string | null>('server.path', null)),
			url: text(found.get<string | null>('server.url', null)),
			interpreter: place(found.get<string | null>('interpreter', null)),
			model: place(found.get<string | null>('model', null)),
			threads: found.get<number | null>('threads', null),
			completion,
		},
		options: {
			enabled,
			languages,
			comments: found.get<boolean>('comments'),
			strings: found.get<boolean>('strings'),
			debounce: found.get<number | null>('debounce', null),
			deadline: found.get<number>('deadline'),
			maxLines: found.get<number>('maxLines'),
			eagerness: found.get<'shy' | 'balanced' | 'eager' | 'always'>('eagerness'),
			retrieval: found.get<boolean>('retrieval'),
			journal: found.get<'off' | 'on' | 'code'>('journal'),
			completion,
			status: true, // the status bar lives on these two
			timings: true,
		},
	};
}

/** The environment that a server of ours runs in. `token`: for the team server. */
export function environment(launch: Launch, token: string | null): NodeJS.ProcessEnv {
	const settings: NodeJS.ProcessEnv = { ...process.env };
	if (launch.url !== null) {
		settings['LACUNA_SERVER'] = launch.url;
		settings['LACUNA_TOKEN'] = token ?? '';
	}
	if (launch.model !== null) {
		settings['LACUNA_MODEL'] = launch.model;
	}
	if (launch.threads !== null) {
		settings['LACUNA_THREADS'] = String(launch.threads);
	}
	return settings;
}

/** Whether going from one to the other takes another server process. */
export function needsRestart(before: Launch, after: Launch): boolean {
	return JSON.stringify(before) !== JSON.stringify(after);
}

/** Writes a setting where the user's own settings are; `undefined` takes it out again. */
export async function write(name: string, value: unknown): Promise<void> {
	await vscode.workspace.getConfiguration(SECTION).update(name, value, vscode.ConfigurationTarget.Global);
}

/** Writes whether suggestions are on, beside a workspace's own word on it if there is one: that would win. */
export async function toggle(name: 'enabled' | 'languages', value: unknown): Promise<void> {
	const configuration = vscode.workspace.getConfiguration(SECTION);
	const local = configuration.inspect(name)?.workspaceValue !== undefined;
	const target = local ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
	await configuration.update(name, value, target);
}

function text(value: string | null): string | null {
	const trimmed = value?.trim() ?? '';
	return trimmed === '' ? null : trimmed;
}

function place(value: string | null): string | null {
	const trimmed = text(value);
	if (trimmed === null) {
		return null;
	}
	return trimmed === '~' || /^~[\\/]/.test(trimmed) ? path.join(os.homedir(), trimmed.slice(1)) : trimmed;
}
