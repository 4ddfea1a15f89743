/**
 * What the server says and what is open in, one state for the status bar out. Knows nothing of VS Code's API.
 */

/** How far the server is. `reason`: for people. */
export type Phase =
	| { readonly kind: 'absent'; readonly reason: string }
	| { readonly kind: 'building'; readonly reason: string }
	| { readonly kind: 'starting' }
	| { readonly kind: 'running' }
	| { readonly kind: 'failed'; readonly reason: string };

/** `lacuna/status`, as the server sends it. */
export interface Status {
	readonly state: string;
	readonly reason: string | null;
	readonly percent?: number | null;
}

/** `lacuna/timing`, as far as it is used here. */
export interface Timing {
	readonly shown: boolean;
	readonly reason: string | null;
	readonly total_ms: number;
	readonly source: string;
}

export type Kind = 'ready' | 'thinking' | 'indexing' | 'off' | 'error' | 'absent' | 'busy';

/** What the status bar shows: `text` beside the icon, `detail` for the tooltip and the menu. */
export interface State {
	readonly kind: Kind;
	readonly text: string;
	readonly detail: string;
}

const PASSED_OVER = new Set(['superseded', 'off']); // a newer key came, or another line says so already

/** The newest answer's reason for showing nothing; undefined when this answer says nothing about that. */
export function silence(timing: Timing): string | null | undefined {
	if (timing.shown) {
		return null;
	}
	return timing.reason === null || PASSED_OVER.has(timing.reason) ? undefined : timing.reason;
}

/** One state of everything. `off`: why nothing belongs here, null when it does. `quiet`: why nothing was shown last. */
export function state(phase: Phase, status: Status | null, off: string | null, quiet: string | null): State {
	switch (phase.kind) {
		case 'absent':
			return { kind: 'absent', text: 'Lacuna: set up', detail: phase.reason };
		case 'building':
			return { kind: 'busy', text: 'Lacuna: setting up', detail: phase.reason };
		case 'starting':
			return { kind: 'busy', text: 'Lacuna', detail: 'The server starts.' };
		case 'failed':
			return { kind: 'error', text: 'Lacuna', detail: phase.reason };
		case 'running':
			return running(status, off, quiet);
	}
}

function running(status: Status | null, off: string | null, quiet: string | null): State {
	if (status?.state === 'error') {
		return { kind: 'error', text: 'Lacuna', detail: status.reason ?? 'The server reports an error; see the log.' };
	}
	if (off !== null) {
		return { kind: 'off', text: 'Lacuna', detail: `Off here: ${off}.` };
	}
	if (status?.state === 'thinking') {
		return { kind: 'thinking', text: 'Lacuna', detail: 'The model writes.' };
	}
	if (status?.state === 'starting') {
		return { kind: 'busy', text: 'Lacuna', detail: 'The model’s service starts.' };
	}
	if (status?.state === 'indexing') {
		const share = typeof status.percent !== 'number' ? '' : ` ${Math.round(status.percent)} %`;
		return { kind: 'indexing', text: `Lacuna${share}`, detail: `Reading the workspace${share}.` };
	}
	return { kind: 'ready', text: 'Lacuna', detail: quiet === null ? 'Ready.' : `Ready. Nothing shown just now: ${quiet}.` };
}
