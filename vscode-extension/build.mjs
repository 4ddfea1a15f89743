/**
 * The sources in, dist/ out, with the licences of what is bundled beside it. `--tests`: the tests into out/.
 */
import { build } from 'esbuild';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

const common = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning', external: ['vscode'] };
const LIMIT = 600_000; // bytes of code

/** The language client is a file of its own, read when a server starts: activation reads next to nothing. */
const apart = {
	name: 'apart',
	setup: ({ onResolve }) =>
		onResolve({ filter: /^\.\/client$/ }, ({ kind }) =>
			kind === 'dynamic-import' ? { path: './client.js', external: true } : undefined,
		),
};

/** Names and licence texts of the packages that a bundle's inputs came from. */
async function licences(inputs) {
	const folders = new Set(inputs.flatMap((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []));
	const parts = [];
	for (const name of [...folders].sort()) {
		const folder = path.join('node_modules', name);
		const { version, license } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
		const file = (await readdir(folder)).find((one) => /^licen[cs]e(\.|$)/i.test(one));
		if (file === undefined) {
			throw new Error(`${name} has no licence file: it may not be bundled`);
		}
		parts.push(`${name} ${version} (${license})\n\n${(await readFile(path.join(folder, file), 'utf8')).trim()}\n`);
	}
	return `The code in dist/ contains these packages.\n\n${parts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

if (process.argv.includes('--tests')) {
	await rm('out', { recursive: true, force: true });
	const names = (await readdir('test')).filter((name) => name.endsWith('.test.ts'));
	const entryPoints = names.map((name) => path.join('test', name));
	await build({ ...common, entryPoints, outdir: 'out', format: 'cjs', outExtension: { '.js': '.cjs' }, packages: 'external' });
} else {
	await rm('dist', { recursive: true, force: true });
	const { metafile } = await build({
		...common,
		entryPoints: ['src/extension.ts', 'src/client.ts'],
		outdir: 'dist',
		plugins: [apart],
		supported: { 'dynamic-import': false }, // VS Code gives `vscode` to what is required, not to what is imported
		format: 'cjs',
		minify: true,
		metafile: true,
		legalComments: 'none',
	});
	await writeFile('dist/licences.txt', await licences(Object.keys(metafile.inputs)));
	const sizes = Object.entries(metafile.outputs).map(([name, { bytes }]) => [name, bytes]);
	console.log(sizes.map(([name, bytes]) => `${name}: ${(bytes / 1000).toFixed(0)} kB`).join(', '));
	const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0);
	if (total > LIMIT) {
		throw new Error(`dist/ has ${total} bytes of code; the limit is ${LIMIT}`);
	}
}
