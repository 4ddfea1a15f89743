/**
 * A Server in, a language client that talks to it out. Says what the server says; restarting is the supervisor's.
 */
import * as os from 'node:os';
import * as vscode from 'vscode';
import {
	CloseAction,
	ErrorAction,
	LanguageClient,
	type LanguageClientOptions,
	RevealOutputChannelOn,
} from 'vscode-languageclient/node';
import { SCHEMES } from './here';
import { lastLine } from './process';
import type { Server } from './server';
import { environment, type Launch, SECTION, type ServerOptions } from './settings';
import type { Status, Timing } from './state';

/** What the client is told and asks. `options`: as they are when asked. `reasonNot`: why nothing is wanted in a document. */
export interface Ears {
	readonly options: () => ServerOptions;
	/** The token for the team server, if there is one. */
	readonly token: string | null;
	readonly reasonNot: (document: vscode.TextDocument) => string | null;
	readonly status: (status: Status) => void;
	readonly timing: (timing: Timing) => void;
	/** The server is gone without having been told to. `words`: the last thing it said. */
	readonly ended: (words: string) => void;
}

/** A client that shows no message by itself: whoever made it says what is to be said, once. */
class QuietClient extends LanguageClient {
	override error(message: string, data?: unknown): void {
		super.error(message, data, false);
	}

	override warn(message: string, data?: unknown): void {
		super.warn(message, data, false);
	}

	override info(message: string, data?: unknown): void {
		super.info(message, data, false);
	}
}

/** A client that is not started yet. */
export function make(server: Server, launch: Launch, log: vscode.LogOutputChannel, ears: Ears): LanguageClient {
	let words = '';
	const command = {
		command: server.path,
		args: [...server.prefix, '--stdio'],
		options: { cwd: os.homedir(), env: environment(launch, ears.token) },
	};
	const options: LanguageClientOptions & { stdioOptions: object } = {
		documentSelector: SCHEMES.map((scheme) => ({ scheme })),
		outputChannel: log,
		revealOutputChannelOn: RevealOutputChannelOn.Never,
		initializationOptions: ears.options,
		initializationFailedHandler: () => false,
		errorHandler: {
			error: () => ({ action: ErrorAction.Continue, handled: true }),
			closed: () => {
				ears.ended(words);
				return { action: CloseAction.DoNotRestart, handled: true };
			},
		},
		stdioOptions: {
			stdout: () => undefined,
			stderr: (stream, channel) => {
				stream.setEncoding('utf8').on('data', (text: string) => {
					words = lastLine(text) || words;
					text.split(/\r?\n/).filter((line) => line.trim() !== '').forEach((line) => channel.info(line));
				});
			},
		},
		middleware: {
			provideInlineCompletionItems: (document, position, context, token, next) =>
				ears.reasonNot(document) === null ? next(document, position, context, token) : null,
			workspace: {
				configuration: (parameters, token, next) =>
					parameters.items.every((item) => item.section === SECTION)
						? parameters.items.map(ears.options)
						: next(parameters, token),
			},
		},
	};
	const client = new QuietClient(SECTION, 'Lacuna', command, options);
	client.onNotification('lacuna/status', ears.status);
	client.onNotification('lacuna/timing', ears.timing);
	return client;
}
