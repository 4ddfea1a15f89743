/**
 * An address and a token from the user in, the address in the settings and the token in VS Code's secret storage out.
 *
 * A token belongs to the address it was given for, is never written to a setting or a log, and reaches the server in its
 * environment alone.
 */
import * as vscode from 'vscode';
import { complaint } from './address';
import { write } from './settings';

const KEY = 'lacuna.token ';

/** The token for an address; null where there is none. */
export async function token(secrets: vscode.SecretStorage, url: string | null): Promise<string | null> {
	return url === null ? null : ((await secrets.get(KEY + url)) ?? null);
}

/** Whether a change of the secret storage is one of ours for this address. */
export function concerns(event: vscode.SecretStorageChangeEvent, url: string | null): boolean {
	return url !== null && event.key === KEY + url;
}

/** Asks for the server's address and a token. Empty ones sign out. What it changes has the server started again. */
export async function signIn(secrets: vscode.SecretStorage, before: string | null): Promise<void> {
	const title = 'Lacuna: a server of your team’s';
	const address = await vscode.window.showInputBox({
		title,
		value: before ?? 'https://',
		prompt: 'Its address. Leave it empty for the model on this machine.',
		ignoreFocusOut: true,
		validateInput: complaint,
	});
	if (address === undefined) {
		return;
	}
	const url = address.trim().replace(/\/+$/, '');
	if (url === '' || url === 'https:') {
		if (before !== null) {
			await secrets.delete(KEY + before);
		}
		await write('server.url', undefined);
		return;
	}
	const given = await vscode.window.showInputBox({
		title,
		password: true,
		prompt: 'The token that whoever runs the server gave you. VS Code keeps it as a secret. Leave it empty to sign out.',
		ignoreFocusOut: true,
	});
	if (given === undefined) {
		return;
	}
	await (given.trim() === '' ? secrets.delete(KEY + url) : secrets.store(KEY + url, given.trim()));
	await write('server.url', url);
}
