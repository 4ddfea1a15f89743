/**
 * The user's word in, the extension's own environment out: asks once, shows how far it is, says what went wrong.
 */
import * as vscode from 'vscode';
import { build, type Bundle, type Environment, SetUpError } from './environment';
import { candidates, choose, type Interpreter, OLDEST } from './python';
import { write } from './settings';

const ASKED = 'lacuna.asked'; // in the global state: the version that asked

/** Asks whether to set up, unless that was asked before. `again`: the user wants to be asked. */
export async function consent(context: vscode.ExtensionContext, bundle: Bundle, again: boolean): Promise<boolean> {
	if (again) {
		return true;
	}
	if (context.globalState.get<string>(ASKED) !== undefined) {
		return false;
	}
	await context.globalState.update(ASKED, String(context.extension.packageJSON['version']));
	const here = bundle.packages === null ? 'pip fetches its packages. The model is' : 'nothing is downloaded: packages and model are';
	const answer = await vscode.window.showInformationMessage(
		`Lacuna completes code on this machine alone. Its server needs a Python environment of its own (about 400 MB, in VS Code’s storage); ${here} here already, and your code goes nowhere. Set it up now?`,
		'Set Up',
		'Not Now',
	);
	return answer === 'Set Up';
}

/** Makes the environment, with a notification that shows how far it is. False: it was not made, and the user knows why. */
export async function setUp(
	environment: Environment,
	bundle: Bundle,
	setting: string | null,
	log: vscode.LogOutputChannel,
	tell: (words: string) => void,
): Promise<boolean> {
	try {
		const interpreter = await python(setting, bundle.packages?.python ?? null, log);
		if (interpreter === null) {
			return false;
		}
		log.info(`Python ${interpreter.version} from ${interpreter.source}: ${interpreter.path}`);
		const options = { location: vscode.ProgressLocation.Notification, title: 'Lacuna', cancellable: true };
		await vscode.window.withProgress(options, async (progress, token) => {
			const stop = new AbortController();
			token.onCancellationRequested(() => stop.abort());
			let before = 0;
			const show = (words: string, done: number): void => {
				progress.report({ message: words, increment: Math.max(0, done - before) * 100 });
				before = Math.max(before, done);
				tell(words);
			};
			await build(environment, bundle, interpreter, show, (line) => log.info(line), stop.signal);
		});
		return true;
	} catch (error) {
		const words = error instanceof SetUpError ? error.message : `Lacuna could not be set up: ${String(error)}`;
		log.error(words);
		void complain(words, log);
		return false;
	}
}

async function complain(words: string, log: vscode.LogOutputChannel): Promise<void> {
	const answer = await vscode.window.showErrorMessage(words, 'Set Up Again', 'Show Log');
	if (answer === 'Show Log') {
		log.show();
	} else if (answer !== undefined) {
		await vscode.commands.executeCommand('lacuna.setUp');
	}
}

/** A Python to make the environment with; null when the user was told there is none. `only`: its version. */
async function python(setting: string | null, only: string | null, log: vscode.LogOutputChannel): Promise<Interpreter | null> {
	const list = candidates(setting, await extensionsPython(log));
	const { interpreter, refusals } = await choose(list, setting, only);
	refusals.forEach(({ candidate, reason }) => log.info(`passed over ${candidate.path} (${candidate.source}): ${reason}`));
	if (interpreter !== null) {
		return interpreter;
	}
	const named = refusals.find(({ candidate }) => candidate.path === setting);
	const best = refusals.find(({ reason }) => reason.includes('-venv')) ?? refusals[0];
	const needed = only ?? `${OLDEST.join('.')} or later`;
	const words =
		named !== undefined
			? `The Python of the setting lacuna.interpreter cannot be used: ${named.candidate.path} ${named.reason}.`
			: best === undefined
				? `Lacuna needs Python ${needed}, and there is none on this machine. ${cure(only)}`
				: `Lacuna needs Python ${needed}. ${best.candidate.path} ${best.reason}. ${cure(only)}`;
	void vscode.window.showErrorMessage(words, 'Choose a Python…', 'Try Again').then(async (answer) => {
		if (answer === 'Try Again') {
			await vscode.commands.executeCommand('lacuna.setUp');
		} else if (answer !== undefined) {
			await chooseFile();
		}
	});
	return null;
}

async function chooseFile(): Promise<void> {
	const [file] = (await vscode.window.showOpenDialog({ title: 'A Python for Lacuna', openLabel: 'Use this Python' })) ?? [];
	if (file !== undefined) {
		await write('interpreter', file.fsPath);
		await vscode.commands.executeCommand('lacuna.setUp');
	}
}

function cure(only: string | null): string {
	switch (process.platform) {
		case 'darwin':
			return 'Install one (brew install python@3.13), then set up again.';
		case 'win32':
			return 'Install one (winget install Python.Python.3.13), then set up again.';
		default:
			return `Install one (on Debian or Ubuntu: sudo apt install python${only ?? 3} python${only ?? 3}-venv), then set up again.`;
	}
}

/** What the Python extension is set to. In a workspace that is not trusted its Python might be the workspace's. */
async function extensionsPython(log: vscode.LogOutputChannel): Promise<string | null> {
	const extension = vscode.extensions.getExtension<PythonApi>('ms-python.python');
	if (extension === undefined || !vscode.workspace.isTrusted) {
		return null;
	}
	try {
		const { environments } = await extension.activate();
		const found = await environments.resolveEnvironment(environments.getActiveEnvironmentPath());
		return found?.executable.uri?.fsPath ?? null;
	} catch (error) {
		log.info(`the Python extension did not say which Python it uses: ${String(error)}`);
		return null;
	}
}

/** The part of the Python extension's published interface that is used here. */
interface PythonApi {
	readonly environments: {
		getActiveEnvironmentPath(): { readonly path: string };
		resolveEnvironment(
			environment: { readonly path: string },
		): Promise<{ readonly executable: { readonly uri?: vscode.Uri } } | undefined>;
	};
}
