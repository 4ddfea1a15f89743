/**
 * A document and the switches in, whether suggestions belong there out, and if not, why. Knows nothing of VS Code's API.
 */

/** The switches a user has. */
export interface Switches {
	readonly enabled: boolean;
	readonly languages: Readonly<Record<string, boolean>>;
	readonly inlineSuggest: boolean;
}

/** What is asked about a document: `scheme` of its address and its language. */
export interface Subject {
	readonly scheme: string;
	readonly languageId: string;
}

/** Schemes of the documents that the server is told of. */
export const SCHEMES = ['file', 'untitled'] as const;

const ELSEWHERE: Readonly<Record<string, string>> = {
	'vscode-notebook-cell': 'not in notebooks',
	'vscode-scm': 'not in commit messages',
	git: 'not in an old version of a file',
	'git-commit': 'not in an old version of a file',
	output: 'not in output',
	'vscode-userdata': 'not in VS Code’s own settings',
	'vscode-settings': 'not in VS Code’s own settings',
};

/** Why nothing is suggested in a document, for people; null when suggestions belong there. `until`: of the snooze. */
export function reasonNot(subject: Subject, switches: Switches, until: Date | null, now = new Date()): string | null {
	if (!switches.enabled) {
		return 'switched off';
	}
	if (until !== null && now < until) {
		return `snoozed until ${clock(until)}`;
	}
	if (!switches.inlineSuggest) {
		return 'VS Code’s setting editor.inlineSuggest.enabled is off';
	}
	if (!(SCHEMES as readonly string[]).includes(subject.scheme)) {
		return ELSEWHERE[subject.scheme] ?? 'only in files on disk and in untitled ones';
	}
	if (switches.languages[subject.languageId] === false) {
		return `off for ${subject.languageId}`;
	}
	return null;
}

/** A time of day as a clock shows it. */
export function clock(time: Date): string {
	return `${String(time.getHours()).padStart(2, '0')}:${String(time.getMinutes()).padStart(2, '0')}`;
}
