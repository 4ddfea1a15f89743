/**
 * What the server knows in, something to read out: what the model is given from elsewhere, and the statistics.
 */
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import { lastLine, type Program, run } from './process';

const SCHEME = 'lacuna-context';
const PATIENCE = 60_000; // milliseconds for a journal of many months on a busy machine

/** A snippet, as `lacuna/context` gives it. */
interface Snippet {
	readonly path: string;
	readonly text: string;
}

/** What the model is given from elsewhere at a cursor, as a document beside the editor. */
export class Contexts implements vscode.TextDocumentContentProvider, vscode.Disposable {
	private readonly changed = new vscode.EventEmitter<vscode.Uri>();
	readonly onDidChange = this.changed.event;
	private readonly registered = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
	private text = '';

	async show(client: LanguageClient, editor: vscode.TextEditor): Promise<void> {
		const converter = client.code2ProtocolConverter;
		const { document, selection } = editor;
		const found = await client.sendRequest<readonly Snippet[]>('lacuna/context', {
			textDocument: converter.asTextDocumentIdentifier(document),
			position: converter.asPosition(selection.active),
		});
		const name = path.posix.basename(document.uri.path);
		this.text = described(`${name}, line ${selection.active.line + 1}`, found);
		const uri = vscode.Uri.from({ scheme: SCHEME, path: '/Lacuna’s context' });
		this.changed.fire(uri);
		const opened = await vscode.workspace.openTextDocument(uri);
		await vscode.window.showTextDocument(opened, { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true, preview: true });
	}

	provideTextDocumentContent(): string {
		return this.text;
	}

	dispose(): void {
		this.registered.dispose();
		this.changed.dispose();
	}
}

/** The snippets for people: where each is from, then its text. */
export function described(place: string, snippets: readonly Snippet[]): string {
	if (snippets.length === 0) {
		return `At ${place} the model is given nothing from elsewhere.\n`;
	}
	const parts = snippets.map(({ path: from, text }) => `── ${from} ${'─'.repeat(Math.max(3, 76 - from.length))}\n${text.trimEnd()}\n`);
	return `At ${place} the model is given this beside the text around the cursor, the most valuable last.\n\n${parts.join('\n')}`;
}

/** The statistics that `lacuna stats` makes a page of, in a tab. Throws with words for the user. */
export async function showStatistics(server: Program, environment: NodeJS.ProcessEnv): Promise<void> {
	const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'lacuna-'));
	try {
		const file = path.join(folder, 'statistics.html');
		const ended = await run(server, ['stats', '--page', file], { limit: PATIENCE, environment });
		if (ended.failure !== null || ended.code !== 0) {
			throw new Error(ended.failure ?? (lastLine(ended.stderr) || `lacuna stats ended with code ${String(ended.code)}`));
		}
		const page = await fs.readFile(file, 'utf8');
		const panel = vscode.window.createWebviewPanel('lacuna.statistics', 'Lacuna: Statistics', vscode.ViewColumn.Active);
		panel.webview.html = page; // it has a policy of its own, which lets no script run and nothing be loaded
	} finally {
		await fs.rm(folder, { recursive: true, force: true });
	}
}
