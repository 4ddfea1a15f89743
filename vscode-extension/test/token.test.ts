/**
 * A team's server that asks for a token, on this machine: a wrong one is said once, and the right one brings ghost text.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { after, before } from 'node:test';
import * as path from 'node:path';
import { ROOT, scene as one, Stage } from './stage';

const LACUNA = path.join(ROOT, '.venv', 'bin', 'lacuna');

let stage: Stage;
let server: ChildProcess;
let url = '';
let token = '';

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	stage = await Stage.open('httpx', { settings: () => ({ 'lacuna.server.path': LACUNA }) });
	const kept = ['--tokens', path.join(stage.home, 'tokens.json')];
	token = execFileSync(LACUNA, ['token', 'create', 'anna', ...kept], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
	server = spawn(LACUNA, ['serve', '--port', '0', ...kept], { stdio: ['ignore', 'pipe', 'ignore'] });
	url = await new Promise((resolve, reject) => {
		server.on('exit', () => reject(new Error('the server ended')));
		server.stdout?.on('data', (data: Buffer) => {
			const found = /ready at (\S+)/.exec(data.toString())?.[1];
			if (found !== undefined) {
				resolve(found);
			}
		});
	});
}, { timeout: 600_000 });

after(async () => {
	server.removeAllListeners('exit');
	server.kill();
	await stage.close();
}, { timeout: 60_000 });

/** Goes through the two boxes of the command. */
async function signIn(given: string): Promise<void> {
	await stage.command('Lacuna: Sign In with a Token');
	for (const [question, answer] of [['Its address', url], ['The token', given]] as const) {
		await stage.page.locator('.quick-input-message', { hasText: question }).waitFor();
		await stage.page.locator('.quick-input-widget input.input').fill(answer);
		await stage.page.keyboard.press('Enter');
	}
}

scene('with a wrong token the user reads what to do, once, and the editor stays usable', 4, async () => {
	await stage.says(/^Lacuna, ready/);
	await signIn('lacuna_not-the-token');
	await stage.notice(/the token is not known/, 120_000);
	await stage.picture('trouble-wrong-token');
	await stage.file('httpx/_status_codes.py');
	await stage.type('\n\nvalue = 1\n');
	assert.match(await stage.saved('httpx/_status_codes.py'), /value = 1/);
	assert.equal(await stage.page.locator('.notification-toast').count(), 1);
	await stage.clear();
});

scene('with the right one the team’s server writes', 4, async () => {
	await signIn(token);
	await stage.says(/starting/, 30_000);
	await stage.says(/^Lacuna, (ready|thinking)/);
	await stage.provoke('class Exchange:\ndef __init__(self, request, response):\nself.request = request\nself.response = ', 'response\nself.url = ', 'request.url\n');
	await stage.picture('team-ghost-text');
});
