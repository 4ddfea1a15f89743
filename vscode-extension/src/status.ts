/**
 * A State in, the status bar's item out, and a context key for menus and walkthrough.
 */
import * as vscode from 'vscode';
import type { Kind, State } from './state';

const ICONS: Readonly<Record<Kind, string>> = {
	ready: '$(bracket-dot)',
	thinking: '$(loading~spin)',
	indexing: '$(sync~spin)',
	off: '$(circle-slash)',
	error: '$(error)',
	absent: '$(cloud-download)',
	busy: '$(loading~spin)',
};

const NAMES: Readonly<Record<Kind, string>> = {
	ready: 'ready',
	thinking: 'thinking',
	indexing: 'indexing',
	off: 'off here',
	error: 'error',
	absent: 'not set up',
	busy: 'starting',
};

/** The item; `show` brings it up to date. */
export class StatusItem implements vscode.Disposable {
	private readonly item = vscode.window.createStatusBarItem('lacuna.status', vscode.StatusBarAlignment.Right, 90);
	private kind: Kind | null = null;

	constructor() {
		this.item.name = 'Lacuna';
		this.item.command = 'lacuna.menu';
		this.item.show();
	}

	show(state: State): void {
		this.item.text = `${ICONS[state.kind]} ${state.text}`;
		this.item.tooltip = `${state.detail}\nClick for the menu.`;
		this.item.accessibilityInformation = { label: `Lacuna, ${NAMES[state.kind]}. ${state.detail}`, role: 'button' };
		this.item.backgroundColor =
			state.kind === 'error' ? new vscode.ThemeColor('statusBarItem.errorBackground') : undefined;
		if (this.kind !== state.kind) {
			this.kind = state.kind;
			const up = !['absent', 'busy', 'error'].includes(state.kind);
			void vscode.commands.executeCommand('setContext', 'lacuna.ready', up);
		}
	}

	dispose(): void {
		this.item.dispose();
	}
}
