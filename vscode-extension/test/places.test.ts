/**
 * Where suggestions belong and where they do not, with a server that would suggest something at every key; and the keys,
 * which do what they always do when there is no suggestion.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { after, before } from 'node:test';
import { messages, scriptedServer } from './scripted';
import { scene as one, Stage } from './stage';

const ITEMS = ['first = 1', 'another = 2', 'third = 3'].map((insertText) => ({ insertText }));
const KEYS = { p: 'previous', n: 'next', w: 'acceptWord', l: 'acceptLine' };
const QUIET = 2_500; // milliseconds in which a suggestion would have come

const NOTEBOOK = {
	cells: [{ cell_type: 'code', execution_count: null, metadata: {}, outputs: [], source: ['value = 1'] }],
	metadata: { language_info: { name: 'python' } },
	nbformat: 4,
	nbformat_minor: 5,
};

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

/** A workspace of two folders, one a repository with a change in it. */
async function workspace(folder: string): Promise<string> {
	const git = (...args: string[]): unknown =>
		execFileSync('git', ['-C', folder, '-c', 'user.name=A', '-c', 'user.email=a@example.org', ...args], { stdio: 'pipe' });
	const second = path.join(path.dirname(folder), 'second');
	await fs.mkdir(second);
	await fs.writeFile(path.join(second, 'other.py'), 'value = 1\n');
	await fs.writeFile(path.join(folder, 'changed.py'), 'before = 1\n');
	await fs.writeFile(path.join(folder, 'notes.ipynb'), JSON.stringify(NOTEBOOK));
	git('init', '--quiet');
	git('add', '.');
	git('commit', '--quiet', '--message', 'first');
	await fs.writeFile(path.join(folder, 'changed.py'), 'before = 1\nafter = 2\n');
	const file = path.join(path.dirname(folder), 'both.code-workspace');
	await fs.writeFile(file, JSON.stringify({ folders: [{ path: folder }, { path: second }] }));
	return file;
}

before(async () => {
	stage = await Stage.open('httpx', {
		settings: async (home) => ({ 'lacuna.server.path': await scriptedServer(home, [{ before: '', items: ITEMS }]) }),
		keys: Object.entries(KEYS).map(([key, command]) => ({ key: `ctrl+alt+${key}`, command: `lacuna.${command}` })),
		prepare: workspace,
	});
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

async function nothing(): Promise<void> {
	assert.equal(await stage.suggestion(QUIET), null);
}

scene('in every folder of a workspace', 3, async () => {
	await stage.says(/^Lacuna, ready/);
	await stage.file('other.py');
	await stage.provoke('x', 'y');
	await stage.picture('places-second-folder');
	const [{ params }] = (await messages(stage.home, 'initialize')) as [{ params: { workspaceFolders: { name: string }[] } }];
	assert.deepEqual(params.workspaceFolders.map(({ name }) => name).sort(), ['project', 'second']);
	await stage.page.keyboard.press('Escape');
});

scene('Alt+] and Alt+[ go through several, and each can be taken', 3, async () => {
	const { keyboard } = stage.page;
	await stage.saved('../second/other.py');
	await keyboard.press('Alt+\\');
	await stage.ghosts(/^first/);
	await keyboard.press('Alt+]');
	await stage.ghosts(/^another/);
	await keyboard.press('Alt+]');
	await stage.ghosts(/^third/);
	await keyboard.press('Alt+[');
	await stage.ghosts(/^another/);
	await keyboard.press('Control+Alt+p');
	await stage.ghosts(/^first/);
	await keyboard.press('Control+Alt+n');
	await stage.ghosts(/^another/);
	await keyboard.press('Tab');
	assert.match(await stage.saved('../second/other.py'), /another = 2$/);
});

scene('a word and a line can be taken with keys of the user’s', 3, async () => {
	const { keyboard } = stage.page;
	await keyboard.press('Enter');
	await stage.ghosts(/^first/);
	await keyboard.press('Control+Alt+w');
	await stage.ghosts(/^ ?=/);
	await keyboard.press('Control+Alt+l');
	await stage.page.waitForTimeout(500);
	await keyboard.press('Escape');
	assert.match(await stage.saved('../second/other.py'), /first = 1\n?$/);
});

scene('without a suggestion Tab indents, Ctrl+Right goes a word on and Escape does nothing', 3, async () => {
	const { keyboard } = stage.page;
	await stage.command('Lacuna: Turn Suggestions On or Off');
	await stage.says(/switched off/);
	for (const key of ['Control+End', 'Enter', 'Tab', 'x', 'Home', 'Home', 'Control+ArrowRight', 'y', 'Escape', 'z']) {
		await keyboard.press(key);
	}
	assert.match(await stage.saved('../second/other.py'), /\n {4}xyz$|\n {4}yzx$/);
	await stage.command('Lacuna: Turn Suggestions On or Off');
	await stage.says(/^Lacuna, ready/);
});

scene('in an untitled file', 3, async () => {
	await stage.command('File: New Untitled Text File');
	await stage.page.locator('.tab.active[data-resource-name^="Untitled"]').waitFor();
	await stage.provoke('x', 'y');
	await stage.command('View: Revert and Close Editor');
});

scene('not in a notebook, and the status bar says so', 3, async () => {
	await stage.command('View: Close All Editors');
	await stage.quickOpen('notes.ipynb');
	const cell = stage.page.locator('.notebookOverlay .cell.code .view-lines, .notebookOverlay .monaco-editor .view-lines').first();
	await cell.waitFor();
	await cell.click();
	await stage.type('x');
	await nothing();
	await stage.says(/off here.*not in notebooks/);
	await stage.picture('places-notebook');
	await stage.command('View: Revert and Close Editor');
});

scene('in a diff on the side that can be written to, and not on the old one', 3, async () => {
	await stage.file('changed.py');
	await stage.command('Git: Open Changes');
	await stage.page.locator('.editor.original .view-lines').first().click();
	await stage.says(/off here.*old version/);
	await stage.type('x');
	await nothing();
	await stage.page.locator('.editor.modified .view-lines').first().click();
	await stage.page.keyboard.press('Control+End');
	await stage.says(/^Lacuna, ready/);
	await stage.provoke('x', 'y');
	await stage.picture('places-diff');
	await stage.page.keyboard.press('Escape');
	await stage.saved('changed.py');
	await stage.command('View: Close All Editors');
});

scene('not in a commit message', 3, async () => {
	await stage.page.keyboard.press('Control+Shift+g');
	const box = stage.page.locator('.scm-editor .view-lines').first();
	await box.waitFor();
	await box.click();
	await stage.type('x');
	await nothing();
	await stage.picture('places-commit-message');
});
