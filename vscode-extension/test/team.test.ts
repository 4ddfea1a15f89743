/**
 * A team's server and its token: asked for, kept as a secret, handed over, and nowhere else.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before } from 'node:test';
import { forget, scriptedServer, startedWith } from './scripted';
import { scene as one, Stage, until } from './stage';

const URL = 'https://completion.example.org:8443';
const TOKEN = 'a-token-that-is-easy-to-find';

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	stage = await Stage.open('httpx', {
		settings: async (home) => ({ 'lacuna.server.path': await scriptedServer(home, []), 'lacuna.trace.server': 'verbose' }),
	});
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

/** Answers the box that asks for this. */
async function answer(question: string, text: string): Promise<void> {
	await stage.page.locator('.quick-input-message', { hasText: question }).waitFor();
	await stage.page.locator('.quick-input-widget input.input').fill(text);
	await stage.page.keyboard.press('Enter');
}

async function serverHas(url: string, token: string): Promise<void> {
	const has = (): Promise<boolean> => Promise.resolve(startedWith(stage.home).join(' ') === `${url} ${token}`);
	await until(has, 60_000, () => Promise.resolve(`the server was started with ${startedWith(stage.home).join(' ')}`));
	await stage.says(/^Lacuna, ready/);
}

scene('the token reaches the server', 3, async () => {
	await stage.says(/^Lacuna, ready/);
	assert.deepEqual(startedWith(stage.home), ['', '']);
	await stage.command('Lacuna: Sign In with a Token');
	await answer('Its address', 'http://completion.example.org');
	await answer('must begin with', `${URL}/`);
	await stage.page.locator('.quick-input-widget input[type=password]').waitFor();
	await stage.page.locator('.quick-input-widget input.input').fill(TOKEN);
	await stage.picture('team-token');
	await stage.page.keyboard.press('Enter');
	await serverHas(URL, TOKEN);
});

scene('and is in no file in the clear', 1, async () => {
	const found = (words: string): string =>
		execFileSync('sh', ['-c', `grep -rlF -e ${words} '${stage.home}' || true`], { encoding: 'utf8' }).trim();
	assert.match(found('completion.example.org'), /settings\.json/);
	assert.equal(found(TOKEN), `${stage.home}/scripted/environment`); // the test's own note
});

scene('a new window has it again, and signing out takes it away', 3, async () => {
	await forget(stage.home);
	await stage.command('Developer: Reload Window');
	await serverHas(URL, TOKEN);
	await stage.command('Lacuna: Sign In with a Token');
	await answer('Its address', URL);
	await answer('The token', '');
	await serverHas(URL, '');
	await stage.command('Lacuna: Sign In with a Token');
	await answer('Its address', '');
	await serverHas('', '');
});
