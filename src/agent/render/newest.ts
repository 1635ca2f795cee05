/** Rendering is wanted in every pass and changes once in a while: the newest results are kept, and given for the same input again. */

/** Before and after a change, each as it is and as it would be. */
const most = 4;

/** `render` must be pure, and its input plain data. What it throws is not kept. */
export function keepingNewest<Input extends readonly unknown[], Output>(
  render: (...input: Input) => Output,
): (...input: Input) => Output {
  const newest = new Map<string, { readonly output: Output }>();
  return (...input) => {
    const [first] = input;
    const key = input.length === 1 && typeof first === 'string' ? first : JSON.stringify(input);
    const known = newest.get(key);
    if (known !== undefined) return known.output;
    const output = render(...input);
    const [oldest] = newest.keys();
    if (oldest !== undefined && newest.size >= most) newest.delete(oldest);
    newest.set(key, { output });
    return output;
  };
}
