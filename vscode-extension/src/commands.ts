/**
 * What a user asks for in, what VS Code or the extension does about it out: the palette's commands, name by name.
 */
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Host } from './extension';
import { clock } from './here';
import { show } from './menu';
import { Contexts, showStatistics } from './pages';
import { run } from './process';
import { read, toggle, write } from './settings';

const DOCTOR = 180_000; // milliseconds for the doctor, the daemon's start included
const SNOOZES = [5, 15, 60, 240]; // minutes

/** VS Code's own commands that ours are names for, so that they can be found under Lacuna. */
const BUILTIN: Readonly<Record<string, string>> = {
	'lacuna.next': 'editor.action.inlineSuggest.showNext',
	'lacuna.previous': 'editor.action.inlineSuggest.showPrevious',
	'lacuna.accept': 'editor.action.inlineSuggest.commit',
	'lacuna.acceptWord': 'editor.action.inlineSuggest.acceptNextWord',
	'lacuna.acceptLine': 'editor.action.inlineSuggest.acceptNextLine',
};

/** Registers every command. */
export function register(context: vscode.ExtensionContext, host: Host): void {
	const contexts = new Contexts();
	context.subscriptions.push(contexts);
	const all: Readonly<Record<string, () => unknown>> = {
		'lacuna.menu': () => show(host.situation()),
		'lacuna.toggle': () => switchEverywhere(host),
		'lacuna.toggleLanguage': () => switchLanguage(),
		'lacuna.snooze': () => snooze(host),
		'lacuna.trigger': () => trigger(host),
		'lacuna.setUp': () => host.setUp(),
		'lacuna.restart': () => host.restart(),
		'lacuna.showLog': () => host.log.show(),
		'lacuna.doctor': () => doctor(host),
		'lacuna.context': () => showContext(host, contexts),
		'lacuna.statistics': () => statistics(host),
		'lacuna.signIn': () => host.signIn(),
		'lacuna.chooseModel': () => chooseModel(),
		'lacuna.chooseServer': () => chooseServer(host),
		'lacuna.openSettings': () =>
			vscode.commands.executeCommand('workbench.action.openSettings', `@ext:${context.extension.id}`),
		'lacuna.openWalkthrough': () =>
			vscode.commands.executeCommand('workbench.action.openWalkthrough', `${context.extension.id}#start`, false),
	};
	for (const [name, work] of Object.entries(all)) {
		context.subscriptions.push(vscode.commands.registerCommand(name, work));
	}
	for (const [name, theirs] of Object.entries(BUILTIN)) {
		context.subscriptions.push(vscode.commands.registerCommand(name, () => vscode.commands.executeCommand(theirs)));
	}
}

async function hide(): Promise<void> {
	await vscode.commands.executeCommand('editor.action.inlineSuggest.hide');
}

async function switchEverywhere(host: Host): Promise<void> {
	const on = !read().enabled;
	host.wake();
	await toggle('enabled', on);
	await hide();
	vscode.window.setStatusBarMessage(`Lacuna is ${on ? 'on' : 'off'}`, 3000);
}

async function switchLanguage(): Promise<void> {
	const language = vscode.window.activeTextEditor?.document.languageId;
	if (language === undefined) {
		void vscode.window.showInformationMessage('Open a file in the language that Lacuna is to be on or off for.');
		return;
	}
	const { languages } = read();
	const on = languages[language] === false;
	await toggle('languages', { ...languages, [language]: on });
	await hide();
	vscode.window.setStatusBarMessage(`Lacuna is ${on ? 'on' : 'off'} for ${language}`, 3000);
}

async function snooze(host: Host): Promise<void> {
	if (host.situation().until !== null) {
		host.wake();
		return;
	}
	const items = SNOOZES.map((minutes) => ({
		label: minutes < 60 ? `${minutes} minutes` : minutes === 60 ? 'an hour' : `${minutes / 60} hours`,
		minutes,
	}));
	const chosen = await vscode.window.showQuickPick(items, { title: 'Lacuna', placeHolder: 'No suggestions for…' });
	if (chosen !== undefined) {
		const until = new Date(Date.now() + chosen.minutes * 60_000);
		host.snooze(until);
		await hide();
		vscode.window.setStatusBarMessage(`Lacuna is quiet until ${clock(until)}`, 3000);
	}
}

async function trigger(host: Host): Promise<void> {
	const { state } = host.situation();
	if (state.kind === 'absent') {
		await host.setUp();
	} else if (state.kind === 'off' || state.kind === 'error') {
		vscode.window.setStatusBarMessage(`Lacuna: ${state.detail}`, 5000);
	} else {
		await vscode.commands.executeCommand('editor.action.inlineSuggest.trigger');
	}
}

async function doctor(host: Host): Promise<void> {
	const server = host.server();
	if (server === null) {
		await host.setUp();
		return;
	}
	host.log.show(true);
	host.log.info('the doctor looks whether everything is as it should be');
	const options = { location: vscode.ProgressLocation.Window, title: 'Lacuna: the doctor looks' };
	const ended = await vscode.window.withProgress(options, () =>
		run(server, ['doctor'], {
			limit: DOCTOR,
			environment: { ...host.environment(), NO_COLOR: '1' },
			line: (line) => host.log.info(line),
		}),
	);
	const words = ended.failure === null ? null : `The doctor did not come to an end: it ${ended.failure}.`;
	if (words === null && ended.code === 0) {
		void vscode.window.showInformationMessage('Lacuna is well: every check of the doctor’s passed.');
	} else {
		void vscode.window.showWarningMessage(words ?? 'Something is amiss: the lines of the log that begin with NO say what to do.');
	}
}

async function showContext(host: Host, contexts: Contexts): Promise<void> {
	const [client, editor] = [host.supervisor.current, vscode.window.activeTextEditor];
	if (client === null || editor === undefined || host.situation().state.kind === 'off') {
		void vscode.window.showInformationMessage('The model is given nothing here: put the cursor where Lacuna suggests something.');
		return;
	}
	await contexts.show(client, editor);
}

async function statistics(host: Host): Promise<void> {
	const server = host.server();
	if (server === null) {
		await host.setUp();
		return;
	}
	try {
		await showStatistics(server, host.environment());
	} catch (error) {
		void vscode.window.showErrorMessage(`Lacuna’s statistics cannot be shown: ${error instanceof Error ? error.message : String(error)}`);
	}
}

async function chooseModel(): Promise<void> {
	const inside = { label: '$(package) The model inside', detail: 'Small and quick; it comes with the extension.' };
	const folder = { label: '$(folder-opened) A model directory…', detail: 'A folder with a manifest.json, as Lacuna makes them.' };
	const chosen = await vscode.window.showQuickPick([inside, folder], { title: 'Lacuna: which model answers?' });
	if (chosen === inside) {
		await write('model', undefined);
	} else if (chosen === folder) {
		const options = { canSelectFolders: true, canSelectFiles: false, openLabel: 'Use this model' };
		const [place] = (await vscode.window.showOpenDialog(options)) ?? [];
		if (place === undefined) {
			return;
		}
		const whole = await fs.access(path.join(place.fsPath, 'manifest.json')).then(() => true, () => false);
		if (whole) {
			await write('model', place.fsPath);
		} else {
			void vscode.window.showErrorMessage(`${place.fsPath} is no model directory: it holds no manifest.json.`);
		}
	}
}

async function chooseServer(host: Host): Promise<void> {
	const own = { label: '$(home) Automatic', detail: 'A lacuna on the path, or else an environment of the extension’s own.' };
	const fresh = { label: '$(refresh) An environment of its own, set up anew', detail: 'Makes it again from the .vsix.' };
	const file = { label: '$(file-binary) A program…', detail: 'Such as .venv/bin/lacuna of a checkout.' };
	const team = { label: '$(globe) A server of your team’s…', detail: 'Its address, and the token to sign in with.' };
	const title = `Lacuna: which server runs? Now: ${host.server()?.source ?? 'none'}`;
	const chosen = await vscode.window.showQuickPick([own, fresh, file, team], { title });
	if (chosen === own) {
		await write('server.path', undefined);
	} else if (chosen === fresh) {
		await host.setUp(true);
	} else if (chosen === team) {
		await host.signIn();
	} else if (chosen === file) {
		const [place] = (await vscode.window.showOpenDialog({ openLabel: 'Use this server' })) ?? [];
		if (place !== undefined) {
			await write('server.path', place.fsPath);
		}
	}
}
