import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { median, quantile, ratioOf, renderTable } from '../../bench/figures.ts';

describe('the figures of a bench', () => {
  test('have the middle value as median, or the mean of the two in the middle', () => {
    assert.equal(median([30, 10, 20]), 20);
    assert.equal(median([40, 10, 20, 30]), 25);
    assert.throws(() => median([]), /no values/);
  });

  test('have a p99 that one bad value in a hundred does not move, and two do', () => {
    const calm = Array.from({ length: 99 }, () => 10);
    assert.equal(quantile([...calm, 900], 0.99), 10);
    assert.equal(quantile([...calm.slice(1), 900, 900], 0.99), 900);
    assert.equal(quantile([3, 1, 2], 0), 1);
    assert.equal(quantile([3, 1, 2], 1), 3);
  });

  test('have a ratio only where there is something to compare with', () => {
    const figure = { name: 'RSS', unit: 'MiB', mooring: 90 };
    assert.equal(ratioOf(figure), undefined);
    assert.equal(ratioOf({ ...figure, bare: 0 }), undefined);
    assert.equal(ratioOf({ ...figure, bare: 45 }), 2);
    const table = renderTable([
      {
        title: 'Memory',
        method: 'how',
        figures: [
          { ...figure, bare: 45 },
          { ...figure, name: 'PSS' },
        ],
      },
    ]);
    assert.match(table, /RSS +90\.0 +45\.0 +2\.00 x +MiB/);
    assert.match(table, /PSS +90\.0 +MiB/);
  });
});
