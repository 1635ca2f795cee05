import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Compared,
  comparisonAsJson,
  middleOf,
  pairedRatio,
  renderComparison,
} from '../../bench/ingress/compare.ts';
import { mooringConf, workersOf } from '../../bench/ingress/rivals.ts';

const figure: Compared = {
  name: 'new connections',
  unit: '1/s',
  better: 'more',
  values: { mooring: [100, 50, 10], haproxy: [50, 50, 20], direct: [0, 100, 40] },
};

describe('the comparison of the ingress with its rivals', () => {
  test('shows the middle one of the values, and nothing for whom there are none', () => {
    assert.equal(middleOf(figure, 'mooring'), 50);
    assert.equal(middleOf(figure, 'byHand'), undefined);
  });

  test('divides what was taken in the same round, before it takes the middle one', () => {
    assert.equal(pairedRatio(figure, 'mooring', 'haproxy'), 1);
    assert.equal(pairedRatio(figure, 'mooring', 'direct'), 0.375);
    assert.equal(pairedRatio(figure, 'mooring', 'byHand'), undefined);
  });

  test('is a table with a column for each rival, and the same for programs', () => {
    const sections = [{ title: 'Connections', method: 'how', figures: [figure] }];
    assert.match(
      renderComparison(sections),
      /new connections +50\.0 +50\.0 +40\.0 +1\.00 x +0\.375 x +0\.500 x +1\/s +more is better/,
    );
    const [json] = comparisonAsJson(sections);
    assert.deepEqual(json?.figures[0]?.medians, {
      mooring: 50,
      byHand: undefined,
      haproxy: 50,
      direct: 40,
    });
    assert.equal(json?.figures[0]?.ratios['mooring/HAProxy'], 1);
  });

  test('gives the rivals as many workers as mooring renders for itself', () => {
    assert.ok(workersOf(mooringConf('10.98.20.2').text) >= 1);
    assert.equal(workersOf('worker_processes 3;\n'), 3);
    assert.throws(() => workersOf('worker_processes none;\n'), /none/);
  });
});
