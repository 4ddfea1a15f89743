/**
 * The state and the document in the editor in, the status bar's menu out.
 */
import * as vscode from 'vscode';
import { clock } from './here';
import type { Settings } from './settings';
import type { State } from './state';

/** What the menu goes by. `until`: of the snooze; `languageId`: of the document in the editor, null without one. */
export interface Situation {
	readonly state: State;
	readonly settings: Settings;
	readonly until: Date | null;
	readonly languageId: string | null;
	readonly server: string | null;
}

interface Entry extends vscode.QuickPickItem {
	readonly run?: string;
}

const separator = (label: string): Entry => ({ label, kind: vscode.QuickPickItemKind.Separator });

/** The menu's lines; `run` is the command of each. */
export function entries({ state, settings, until, languageId }: Situation): Entry[] {
	const set = state.kind === 'absent';
	const found: Entry[] = [];
	if (set) {
		found.push({ label: '$(cloud-download) Set up…', run: 'lacuna.setUp' });
	} else {
		const off = settings.enabled ? 'off' : 'on';
		found.push({ label: `$(circle-slash) Turn suggestions ${off}`, run: 'lacuna.toggle' });
		if (languageId !== null) {
			const here = settings.languages[languageId] === false ? 'on' : 'off';
			found.push({ label: `$(symbol-file) Turn suggestions ${here} for ${languageId}`, run: 'lacuna.toggleLanguage' });
		}
		found.push(
			until === null
				? { label: '$(bell-slash) Snooze…', run: 'lacuna.snooze' }
				: { label: '$(bell) Wake up', description: `snoozed until ${clock(until)}`, run: 'lacuna.snooze' },
			{ label: '$(bracket-dot) Suggest here now', description: 'Alt+\\', run: 'lacuna.trigger' },
		);
	}
	found.push(
		separator('server'),
		{ label: '$(package) Choose a model…', description: settings.launch.model ?? 'the one inside', run: 'lacuna.chooseModel' },
		{ label: '$(server-process) Choose a server…', run: 'lacuna.chooseServer' },
		{ label: '$(key) Sign in with a token…', description: settings.launch.url ?? 'for a server of your team’s', run: 'lacuna.signIn' },
		{ label: '$(debug-restart) Restart the server', run: 'lacuna.restart' },
		separator('to look at'),
		{ label: '$(references) Show the context', description: 'what the model is given here from elsewhere', run: 'lacuna.context' },
		{ label: '$(graph) Statistics', description: 'what became of suggestions', run: 'lacuna.statistics' },
		separator('help'),
		{ label: '$(pulse) Ask the doctor', description: 'is everything as it should be?', run: 'lacuna.doctor' },
		{ label: '$(output) Show the log', run: 'lacuna.showLog' },
		{ label: '$(gear) Settings', run: 'lacuna.openSettings' },
		{ label: '$(mortar-board) First steps', run: 'lacuna.openWalkthrough' },
	);
	return found;
}

/** Shows the menu and runs what is chosen. */
export async function show(situation: Situation): Promise<void> {
	const server = situation.server === null ? '' : ` · ${situation.server}`;
	const chosen = await vscode.window.showQuickPick(entries(situation), {
		title: `Lacuna${server}`,
		placeHolder: situation.state.detail,
	});
	if (chosen?.run !== undefined) {
		await vscode.commands.executeCommand(chosen.run);
	}
}
