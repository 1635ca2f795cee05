/** Rendering is wanted in every pass and changes once in a while: the newest result is kept, and given for the same input again. */

/** `render` must be pure, and its input plain data. What it throws is not kept. */
export function keepingNewest<Input extends readonly unknown[], Output>(
  render: (...input: Input) => Output,
): (...input: Input) => Output {
  let newest: { readonly key: string; readonly output: Output } | undefined;
  return (...input) => {
    const key = JSON.stringify(input);
    if (newest?.key !== key) newest = { key, output: render(...input) };
    return newest.output;
  };
}
