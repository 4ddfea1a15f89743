/**
 * VS Code's events in, everything else set in motion: settings, server, status bar, commands. What each of them does is
 * in its own module; this one only says when.
 */
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import * as commands from './commands';
import { cursorTold } from './cursor';
import { type Bundle, bundled, type Environment, hasPredecessor, isWhole, locate, SetUpError, tidy, unseal } from './environment';
import { reasonNot } from './here';
import type { Situation } from './menu';
import { ask, find, OWN, type Server, ServerError } from './server';
import { environment, needsRestart, read, type Settings } from './settings';
import { consent, setUp } from './setup';
import { concerns, signIn, token } from './signin';
import { type Phase, silence, state, type Status } from './state';
import { StatusItem } from './status';
import { Supervisor } from './supervisor';

let host: Host | null = null;

const WINDOWS = 'Lacuna’s server does not run on Windows itself yet. Open the folder in WSL, and set Lacuna up there.';

/** Begins; what takes long goes on behind. */
export function activate(context: vscode.ExtensionContext): void {
	host = new Host(context);
	commands.register(context, host);
	void host.begin(false);
}

/** Ends: the server is told to leave. */
export async function deactivate(): Promise<void> {
	await host?.supervisor.stop();
	host = null;
}

/** What the extension knows at a moment, and the few things that can be done to it. */
export class Host {
	readonly log = vscode.window.createOutputChannel('Lacuna', { log: true });
	readonly supervisor: Supervisor;
	private readonly item = new StatusItem();
	private settings: Settings = read();
	private phase: Phase = { kind: 'starting' };
	private status: Status | null = null;
	private quiet: string | null = null;
	private until: Date | null = null;
	private alarm: NodeJS.Timeout | undefined;
	private chosen: Server | null = null;
	private token: string | null = null;
	private beginning: Promise<void> = Promise.resolve();

	constructor(private readonly context: vscode.ExtensionContext) {
		this.supervisor = new Supervisor({
			make: async (server, ended) => {
				const { make } = await import('./client'); // not read before it is needed: activation must not take long
				this.token = await token(this.context.secrets, this.settings.launch.url);
				return make(server, this.settings.launch, this.log, {
					options: () => this.settings.options,
					token: this.token,
					reasonNot: (document) => this.reasonNot(document),
					status: (status) => this.told({ status }),
					timing: (timing) => this.told({ quiet: silence(timing) }),
					ended,
				});
			},
			starting: () => this.enter({ kind: 'starting' }),
			running: (client) => this.running(client),
			failed: (reason) => this.fail(reason),
			log: (line) => this.log.info(line),
		});
		const { window, workspace } = vscode;
		context.subscriptions.push(
			this.log,
			this.item,
			workspace.onDidChangeConfiguration((event) => this.configured(event)),
			context.secrets.onDidChange((event) => void (concerns(event, this.settings.launch.url) && this.restart())),
			window.onDidChangeActiveTextEditor(() => this.told({ quiet: null })),
			workspace.onDidOpenTextDocument(() => this.show()), // a change of language closes and opens
			cursorTold(() => this.supervisor.current, (document) => this.reasonNot(document) === null),
			{ dispose: () => clearTimeout(this.alarm) },
		);
		this.show();
	}

	/** Finds a server and starts it; asks to set one up if there is none. `wanted`: the user asked for it just now. */
	begin(wanted: boolean): Promise<void> {
		this.beginning = this.beginning.then(() => this.attempt(wanted));
		return this.beginning;
	}

	/** Starts the server anew, with the settings as they are now. */
	async restart(): Promise<void> {
		this.settings = read();
		await this.begin(false);
	}

	/** Makes the environment as the user asked, and starts its server. `anew`: even if it is whole. */
	async setUp(anew = false): Promise<void> {
		if (this.phase.kind === 'building') {
			return; // its progress is shown
		}
		if (anew) {
			await this.supervisor.stop();
			const { environment } = await this.own();
			await unseal(environment);
		}
		await this.begin(true);
	}

	/** No suggestions until then. */
	snooze(until: Date): void {
		clearTimeout(this.alarm);
		this.until = until;
		this.alarm = setTimeout(() => this.wake(), until.getTime() - Date.now());
		this.show();
	}

	/** Suggestions again. */
	wake(): void {
		clearTimeout(this.alarm);
		this.until = null;
		this.show();
	}

	/** The server that runs, or would. */
	server(): Server | null {
		return this.chosen;
	}

	/** The environment for a program of the server's. */
	environment(): NodeJS.ProcessEnv {
		return environment(this.settings.launch, this.token);
	}

	/** Asks for a team server and the token for it. */
	signIn(): Promise<void> {
		return signIn(this.context.secrets, this.settings.launch.url);
	}

	/** What the menu goes by. */
	situation(): Situation {
		const document = vscode.window.activeTextEditor?.document;
		const off = document === undefined ? null : this.reasonNot(document);
		return {
			state: state(this.phase, this.status, off, this.quiet),
			settings: this.settings,
			until: this.until,
			languageId: document?.languageId ?? null,
			server: this.chosen === null ? null : `${this.chosen.version}, from ${this.chosen.source}`,
		};
	}

	private async attempt(wanted: boolean): Promise<void> {
		try {
			const own = await this.own().catch((error: unknown) => {
				this.log.info(String(error));
				return null;
			});
			const version = String(this.context.extension.packageJSON['version']);
			this.chosen = await find(this.settings.launch, own?.environment ?? null, version, (line) => this.log.info(line));
			if (this.chosen === null || (wanted && own !== null && !(await isWhole(own.environment)))) {
				this.chosen = await this.fresh(own, wanted, version);
			}
			if (own !== null && (await isWhole(own.environment))) {
				await tidy(own.environment);
			}
			if (this.chosen !== null) {
				await this.supervisor.start(this.chosen);
			}
		} catch (error) {
			await this.supervisor.stop();
			const words = error instanceof ServerError || error instanceof SetUpError ? error.message : `Lacuna failed: ${String(error)}`;
			this.fail(words);
		}
	}

	/** A server in an environment made just now; null when the user does not want it, or it could not be made. */
	private async fresh(own: Own | null, wanted: boolean, version: string): Promise<Server | null> {
		if (process.platform === 'win32') {
			this.enter({ kind: 'absent', reason: WINDOWS });
			if (wanted) {
				void vscode.window.showWarningMessage(WINDOWS);
			}
			return null;
		}
		const { environment, bundle } = own ?? (await this.own());
		if (await isWhole(environment)) {
			const found = await ask(environment.server, OWN, version);
			if (typeof found !== 'string') {
				return found; // another window has made it meanwhile
			}
			await unseal(environment); // it is broken
		}
		this.enter({ kind: 'absent', reason: 'The server is not set up yet.' });
		const agreed = wanted || (await hasPredecessor(path.dirname(environment.directory)));
		if (!(await consent(this.context, bundle, agreed))) {
			return null;
		}
		this.enter({ kind: 'building', reason: 'Looking for a Python.' });
		const tell = (words: string): void => this.enter({ kind: 'building', reason: `Setting up: ${words}.` });
		const made = await setUp(environment, bundle, this.settings.launch.interpreter, this.log, tell);
		if (!made) {
			this.enter({ kind: 'absent', reason: 'The server could not be set up; the log says why.' });
			return null;
		}
		const found = await ask(environment.server, OWN, version);
		if (typeof found === 'string') {
			throw new ServerError(`The server was set up, but it ${found}. The log has the whole story.`);
		}
		return found;
	}

	private async own(): Promise<Own> {
		const bundle = await bundled(this.context.asAbsolutePath('bundled'));
		const environment = await locate(bundle, this.context.globalStorageUri.fsPath);
		return { bundle, environment };
	}

	private running(client: LanguageClient): void {
		this.log.info(`the server runs: ${client.initializeResult?.serverInfo?.version ?? 'it does not say its version'}`);
		this.status = null;
		this.quiet = null;
		this.enter({ kind: 'running' });
	}

	private fail(reason: string): void {
		this.log.error(reason);
		this.enter({ kind: 'failed', reason });
		void vscode.window.showErrorMessage(`Lacuna: ${reason}`, 'Restart', 'Ask the Doctor', 'Show Log').then((answer) => {
			if (answer === 'Restart') {
				void this.restart();
			} else if (answer === 'Ask the Doctor') {
				void vscode.commands.executeCommand('lacuna.doctor');
			} else if (answer === 'Show Log') {
				this.log.show();
			}
		});
	}

	private configured(event: vscode.ConfigurationChangeEvent): void {
		if (!event.affectsConfiguration('lacuna') && !event.affectsConfiguration('editor.inlineSuggest')) {
			return;
		}
		const before = this.settings;
		this.settings = read();
		this.show();
		if (needsRestart(before.launch, this.settings.launch)) {
			void this.begin(false);
		}
	}

	private reasonNot(document: vscode.TextDocument): string | null {
		return reasonNot({ scheme: document.uri.scheme, languageId: document.languageId }, this.settings, this.until);
	}

	private told(news: { status?: Status; quiet?: string | null | undefined }): void {
		if (news.status !== undefined) {
			this.status = news.status;
		}
		if (news.quiet !== undefined) {
			this.quiet = news.quiet;
		}
		this.show();
	}

	private enter(phase: Phase): void {
		this.phase = phase;
		this.show();
	}

	private show(): void {
		this.item.show(this.situation().state);
	}
}

interface Own {
	readonly bundle: Bundle;
	readonly environment: Environment;
}
