/**
 * What a user typed in, what is wrong with it as a server's address out. Knows nothing of VS Code's API.
 */

/** What is wrong with an address; null when nothing is. Code and token travel in the clear on this machine alone. */
export function complaint(address: string): string | null {
	const text = address.trim();
	if (text === '' || text === 'https://') {
		return null;
	}
	let url: URL;
	try {
		url = new URL(text);
	} catch {
		return 'This is no address; it looks like https://completion.example.org:8443';
	}
	const here = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
	if (url.username !== '' || url.password !== '') {
		return 'Leave name and password out: the token is asked for next.';
	}
	return url.protocol === 'https:' || (url.protocol === 'http:' && here)
		? null
		: 'It must begin with https://, for your code and the token travel there. http:// will do on this machine.';
}
