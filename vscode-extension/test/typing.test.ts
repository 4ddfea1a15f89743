/**
 * As many keys as an hour of typing has, in a few minutes: how much the extension host has grown by then.
 *
 * Each key is answered with a suggestion by a scripted server. The extension host is asked through its inspector, after
 * a collection of garbage. Run it with a node that has WebSocket (22 or later).
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { messages, scriptedServer } from './scripted';
import { scene as one, Stage, until } from './stage';

const KEYS = 12_000; // an hour at 200 a minute
const WARM = 600; // keys until what is made once has been made
const LIMIT = 20_000_000; // bytes
const INSPECTOR = 'http://127.0.0.1:9229/json/list';
const ASK = 'JSON.stringify(process.memoryUsage())';

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	stage = await Stage.open('httpx', {
		settings: async (home) => ({
			'lacuna.server.path': await scriptedServer(home, [{ before: '', items: [{ insertText: 'first = 1\nsecond = 2' }] }]),
		}),
	});
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

/** Asks the extension host how much it holds. */
async function memory(): Promise<NodeJS.MemoryUsage> {
	const [target] = (await (await fetch(INSPECTOR)).json()) as { webSocketDebuggerUrl: string }[];
	assert.ok(target !== undefined);
	const socket = new WebSocket(target.webSocketDebuggerUrl);
	await new Promise((resolve) => socket.addEventListener('open', resolve));
	const answer = new Promise<string>((resolve, reject) =>
		socket.addEventListener('message', ({ data }) => {
			const { id, result } = JSON.parse(String(data)) as { id?: number; result: { result: { value?: string } } };
			if (id === 2) {
				typeof result.result.value === 'string' ? resolve(result.result.value) : reject(new Error(String(data)));
			}
		}),
	);
	socket.send(JSON.stringify({ id: 0, method: 'HeapProfiler.collectGarbage' }));
	socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' })); // what finalizers let go of
	socket.send(JSON.stringify({ id: 2, method: 'Runtime.evaluate', params: { expression: ASK } }));
	const said = JSON.parse(await answer) as NodeJS.MemoryUsage;
	socket.close();
	return said;
}

/** The same once what the start needed has been let go of: else that would hide what grows. */
async function settled(): Promise<NodeJS.MemoryUsage> {
	let last = await memory();
	for (let turns = 0; turns < 12; turns += 1) {
		await stage.page.waitForTimeout(3_000);
		const now = await memory();
		if (last.heapUsed - now.heapUsed < 500_000) {
			return now;
		}
		last = now;
	}
	return last;
}

/** Types so many keys, six at once: VS Code asks for a suggestion when no key comes for 50 ms. */
async function keys(count: number): Promise<void> {
	for (let typed = 0; typed < count; typed += 30) {
		const line = `value_${String(typed).padStart(6, '0')} = compute(${typed % 1000})`.padEnd(29).slice(0, 29);
		for (const piece of line.match(/.{1,6}/g) ?? []) {
			await stage.page.keyboard.type(piece);
			await stage.page.waitForTimeout(70);
		}
		await stage.page.keyboard.press('Escape');
		await stage.page.keyboard.press('Enter');
	}
}

scene('an hour of typing grows the extension host by less than 20 MB', 14, async () => {
	await stage.says(/^Lacuna, ready/);
	await stage.file('httpx/_status_codes.py');
	await stage.type('\n');
	const [host] = stage.processes('--type=extensionHost');
	assert.ok(host !== undefined);
	process.kill(host, 'SIGUSR1'); // node opens its inspector at that
	await until(() => fetch(INSPECTOR).then(() => true, () => false), 20_000, () => Promise.resolve('no inspector'));
	await keys(WARM);
	const before = await settled();
	const started = Date.now();
	await keys(KEYS);
	const seconds = Math.round((Date.now() - started) / 1000);
	const grown = await memory();
	const megabytes = (name: 'heapUsed' | 'rss'): string =>
		`${(before[name] / 1e6).toFixed(1)} → ${(grown[name] / 1e6).toFixed(1)} MB`;
	const asked = (await messages(stage.home, 'textDocument/inlineCompletion')).length;
	assert.ok(asked > KEYS / 12, `${asked} requests are not an hour's`);
	console.log(`${KEYS} keys and ${asked} requests in ${seconds} s: heap ${megabytes('heapUsed')}, resident ${megabytes('rss')}`);
	assert.ok(grown.heapUsed - before.heapUsed < LIMIT);
	assert.ok(grown.rss - before.rss < LIMIT);
});
