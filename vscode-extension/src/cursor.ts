/**
 * VS Code's selections in, `lacuna/cursor` out: where the cursor rests when nothing is typed, so that the server reads
 * ahead, and whether text is selected, so that it stays quiet.
 */
import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';

/** Tells until disposed of. `client`: the one that runs, if any; `wanted`: whether suggestions belong in a document. */
export function cursorTold(
	client: () => LanguageClient | null,
	wanted: (document: vscode.TextDocument) => boolean,
): vscode.Disposable {
	let last = '';
	const tell = (editor: vscode.TextEditor | undefined): void => {
		const running = client();
		if (editor === undefined || running === null || !wanted(editor.document)) {
			return;
		}
		const { document, selection } = editor;
		const [before, now] = [last, `${document.uri.toString()} ${document.version}`];
		const row = `${now} ${selection.active.line} ${selection.isEmpty}`;
		last = row;
		if (row === before || (before.startsWith(document.uri.toString()) && !before.startsWith(`${now} `))) {
			return; // the same row again, or something was typed, which the server knows by itself
		}
		const converter = running.code2ProtocolConverter;
		void running
			.sendNotification('lacuna/cursor', {
				textDocument: converter.asTextDocumentIdentifier(document),
				position: converter.asPosition(selection.active),
				selecting: !selection.isEmpty,
			})
			.catch(() => undefined); // the server is on its way out
	};
	return vscode.Disposable.from(
		vscode.window.onDidChangeTextEditorSelection((event) => tell(event.textEditor)),
		vscode.window.onDidChangeActiveTextEditor(tell),
	);
}
