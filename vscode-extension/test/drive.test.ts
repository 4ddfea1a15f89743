/**
 * The whole thing, as a user meets it: a fresh profile of a real VS Code, the .vsix, a real project, the real model.
 *
 * One long scene: each test goes on where the one before stopped. Pictures are kept in .cache/vscode/pictures.
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { scene as one, Stage, until } from './stage';

const FILE = 'httpx/_models.py';
const CODE = [
	'class Exchange:\ndef __init__(self, request: Request, response: Response) -> None:\nself.request = request\nself.response = ',
	'response\nself.url = ',
	'request.url\nself.status = ',
];
const MORE = ['def names(values: list[int]) -> list[str]:\nresult = []\nfor value in ', 'values:\n', 'result.', 'append(value)\n'];

let stage: Stage;

before(async () => {
	stage = await Stage.open('httpx');
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

/** Goes to the end of the file and begins a paragraph there, at the margin. */
async function paragraph(): Promise<void> {
	const { keyboard } = stage.page;
	for (const key of ['Escape', 'Control+End', 'Enter', 'Enter', 'Enter', 'Shift+Tab', 'Shift+Tab', 'Shift+Tab']) {
		await keyboard.press(key);
	}
}

scene('one question sets the server up', 12, async () => {
	await stage.says(/not set up/);
	await stage.picture('1-question');
	await stage.press('Set Up');
	await stage.says(/Setting up/);
	await stage.page.locator('.notification-toast', { hasText: /package \d+ of/ }).waitFor({ timeout: 120_000 });
	await stage.picture('2-setting-up');
	await stage.says(/^Lacuna, (ready|thinking)/, 600_000);
});

scene('typing brings the model’s ghost text', 3, async () => {
	await stage.file(FILE);
	await stage.clear();
	await paragraph();
	await stage.provoke(...CODE);
	await stage.picture('3-ghost-text');
});

scene('Tab takes all of it', 2, async () => {
	const before = await stage.ghost();
	await stage.page.keyboard.press('Tab');
	await stage.page.keyboard.press('Escape');
	const text = await stage.saved(FILE);
	const first = before.split('\n')[0]?.trim() ?? '';
	assert.ok(text.includes(first), `${JSON.stringify(first)} is not in the file`);
	assert.ok(text.trimEnd().split('\n').slice(-16).join('\n').includes(first));
});

scene('Ctrl+Right takes a word of it, and the rest stays', 3, async () => {
	await paragraph();
	let ghost = await stage.provoke(...MORE);
	for (let tries = 0; tries < 4 && !/\w[^\w\n]+\w/.test(ghost); tries += 1) {
		await stage.page.keyboard.press('Tab');
		ghost = await stage.provoke('\n', 'if ', 'value ', 'in ');
	}
	const line = await stage.saved(FILE);
	await stage.page.keyboard.press('Control+ArrowRight');
	await stage.page.waitForTimeout(300);
	await stage.picture('4-accepted-a-word');
	const longer = await stage.saved(FILE);
	const taken = longer.length - line.length;
	assert.ok(taken > 0 && taken < ghost.length, `${taken} of ${ghost.length} characters were taken`);
});

scene('Escape sends it away and leaves the text alone', 3, async () => {
	await paragraph();
	await stage.provoke('def is_redirect(value: int) -> bool:\nreturn ', 'value', ' == ', 'result', '\nif ', 'value ');
	const before = await stage.saved(FILE);
	await stage.page.keyboard.press('Escape');
	await stage.quiet();
	assert.equal(await stage.saved(FILE), before);
});

scene('by hand there are several, and Alt+] and Alt+[ go through them', 4, async () => {
	const { keyboard } = stage.page;
	await paragraph();
	await stage.type('def names(values: list[int]) -> list[str]:\nresult = []\nfor value in values:\nresult.');
	await keyboard.press('Escape');
	await keyboard.press('Alt+\\');
	const first = await stage.suggestion(20_000);
	assert.notEqual(first, null, 'nothing came by hand');
	await keyboard.press('Alt+]');
	await until(async () => !['', first].includes(await stage.ghost()), 10_000, () => Promise.resolve(`there is only ${first}`));
	await stage.picture('several-by-hand');
	await keyboard.press('Alt+[');
	await until(async () => (await stage.ghost()) === first, 10_000, () => Promise.resolve('the first does not come back'));
	await keyboard.press('Escape');
});

scene('where nothing is shown, the status bar says why', 2, async () => {
	await paragraph();
	await stage.type('response');
	for (const key of ['Escape', 'Home', 'Home', 'x']) {
		await stage.page.keyboard.press(key);
	}
	await stage.says(/Nothing shown just now: inside a word/);
});

scene('what the model is given from elsewhere is shown beside', 2, async () => {
	await stage.command('Lacuna: Show the Context');
	await stage.page.locator('.view-lines', { hasText: 'the model is given' }).waitFor();
	await stage.picture('context');
	await stage.command('View: Close Editors in Other Groups');
});

scene('off is off, and on is on again', 4, async () => {
	await stage.command('Lacuna: Turn Suggestions On or Off');
	await stage.says(/off here.*switched off/);
	await paragraph();
	await stage.type('for value in ');
	assert.equal(await stage.suggestion(4_000), null);
	await stage.picture('5-off');
	await stage.command('Lacuna: Turn Suggestions On or Off');
	await stage.says(/^Lacuna, (ready|thinking)/);
	await paragraph();
	await stage.provoke(...MORE);
});

scene('off for a language is off there alone', 3, async () => {
	await paragraph();
	await stage.command('Lacuna: Turn Suggestions On or Off for This Language');
	await stage.says(/off here.*off for python/);
	await stage.command('Lacuna: Turn Suggestions On or Off for This Language');
	await stage.says(/^Lacuna, (ready|thinking)/);
});

scene('the daemon is killed and the next key starts another', 4, async () => {
	await paragraph();
	const killed = stage.kill(' serve ');
	await stage.provoke('class Registry:\n', 'def __init__(self, ', 'codes', ') -> None:\n', 'self.', 'codes = ');
	const running = stage.processes(' serve ');
	assert.ok(running.length > 0 && running.every((pid) => !killed.includes(pid)), 'no other daemon runs');
	await stage.picture('6-after-the-daemon-was-killed');
});

scene('the server is killed and starts again by itself', 4, async () => {
	await paragraph();
	stage.kill('--stdio');
	await stage.says(/starting/);
	await stage.says(/^Lacuna, (ready|thinking)/);
	await stage.provoke('def total(numbers: list[int]) -> int:\n', 'count = ', '0\nfor number in ', 'numbers:\n', 'count ');
});

scene('the menu has it all', 2, async () => {
	await paragraph();
	await stage.page.locator('.statusbar-item[id*="lacuna.status"]').click();
	await stage.row('Turn suggestions off').waitFor();
	await stage.picture('7-menu');
	const input = stage.page.locator('.quick-input-widget input.input');
	for (const label of ['Turn suggestions off for python', 'Choose a model', 'Sign in', 'Restart', 'Show the context', 'Ask the doctor', 'Show the log']) {
		await input.fill(label); // the list is longer than what is in sight
		await stage.row(label).waitFor();
	}
	await input.fill('Snooze');
	await stage.row('Snooze').click();
	await stage.row('5 minutes').click();
	await stage.says(/snoozed until/);
	await stage.command('Lacuna: Snooze, or Wake Up');
	await stage.says(/^Lacuna, (ready|thinking)/);
});

scene('the doctor finds everything well', 4, async () => {
	await stage.command('Lacuna: Ask the Doctor');
	await stage.page.locator('.notification-toast', { hasText: 'Lacuna is well' }).waitFor({ timeout: 180_000 });
	await stage.page.waitForTimeout(500);
	await stage.picture('8-doctor');
	await stage.clear();
	await stage.command('View: Close Panel').catch(() => undefined);
});

scene('the statistics are a page', 2, async () => {
	await stage.command('Lacuna: Show Statistics');
	const inside = stage.page.frameLocator('iframe.webview.ready').frameLocator('iframe#active-frame');
	await inside.locator('h1').first().waitFor({ timeout: 60_000 });
	await stage.picture('statistics');
	await stage.command('View: Close Editor');
});

scene('the first steps are there', 2, async () => {
	await stage.command('Lacuna: First Steps');
	await stage.page.locator('.getting-started-step', { hasText: 'Set up the server' }).first().waitFor();
	await stage.picture('9-first-steps');
});

scene('VS Code says how long activation took', 2, async () => {
	await stage.command('Developer: Show Running Extensions');
	const row = stage.page.locator('.runtime-extensions-editor .monaco-list-row', { hasText: 'Lacuna' }).first();
	await stage.page.locator('.runtime-extensions-editor .monaco-list-row').first().hover();
	for (let turns = 0; turns < 40 && (await row.count()) === 0; turns += 1) {
		await stage.page.mouse.wheel(0, 200); // slowest first, and only what is in sight is there
		await stage.page.waitForTimeout(150);
	}
	const time = await row.locator('.activation-time').innerText();
	console.log(`activation, as VS Code measures it: ${time}`);
	assert.match(time, /\d+ ?ms/);
});
